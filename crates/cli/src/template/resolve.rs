//! Parameters, mappings and conditions, put in their places.
//!
//! What is resolved: `Ref` to a parameter and to `AWS::NoValue`, `Fn::FindInMap`, `Fn::Sub` of parameters, and `Fn::If`
//! with the conditions that parameters decide. Other intrinsic functions stay as they are and have no value here.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

/// Deepest nesting of conditions that name each other.
const DEPTH: usize = 16;

/// Gives parameters their values.
pub(super) struct Resolver {
    declared: Map<String, Value>,
    parameters: BTreeMap<String, Value>,
    conditions: Map<String, Value>,
    mappings: Value,
    stream: Option<String>,
    /// Queues by their logical ids; here one stands for all.
    queues: Vec<String>,
    /// Buckets likewise; here a folder stands for all.
    buckets: Vec<String>,
}

impl Resolver {
    /// Parameters that are `given` take the place of their defaults, and are held to what their declarations allow.
    pub(super) fn new(root: &Value, given: &[(String, String)]) -> Result<Self> {
        let declared = root["Parameters"].as_object().cloned().unwrap_or_default();
        let mut parameters: BTreeMap<_, _> =
            declared.iter().map(|(name, about)| (name.clone(), about["Default"].clone())).collect();
        for (name, value) in given {
            let Some(known) = parameters.get_mut(name) else {
                let names: Vec<_> = parameters.keys().map(String::as_str).collect();
                bail!("there is no parameter {name}; there are {}", names.join(", "));
            };
            check_parameter(name, value, &declared[name])?;
            *known = json!(value);
        }
        let mut resolver = Self {
            declared,
            parameters,
            conditions: root["Conditions"].as_object().cloned().unwrap_or_default(),
            mappings: root["Mappings"].clone(),
            stream: None,
            queues: Vec::new(),
            buckets: Vec::new(),
        };
        for (name, resource) in root["Resources"].as_object().into_iter().flatten() {
            let kind = resource["Type"].as_str();
            if kind == Some("AWS::Kinesis::Stream") && resolver.is_present(name, resource)? {
                resolver.stream.get_or_insert_with(|| name.clone());
            } else if kind == Some("AWS::SQS::Queue") && resolver.is_present(name, resource)? {
                resolver.queues.push(name.clone());
            } else if kind == Some("AWS::S3::Bucket") && resolver.is_present(name, resource)? {
                resolver.buckets.push(name.clone());
            }
        }
        Ok(resolver)
    }

    /// Names parameters that are `given` and declare a pattern: AWS holds them to it, and here nobody does.
    pub(super) fn patterns(&self, given: &[(String, String)]) -> Option<String> {
        let names = given.iter().map(|(name, _)| name.as_str());
        let names: Vec<_> = names.filter(|name| !self.declared[*name]["AllowedPattern"].is_null()).collect();
        (!names.is_empty())
            .then(|| format!("AllowedPattern of {}: for AWS, not checked here", names.join(" and ")))
    }

    /// Holds the template's rules; an assertion that cannot be decided here holds.
    pub(super) fn check_rules(&self, root: &Value) -> Result<()> {
        for (name, rule) in root["Rules"].as_object().into_iter().flatten() {
            if let Some(when) = rule.get("RuleCondition")
                && self.decide(when, 0)? != Some(true)
            {
                continue;
            }
            for assertion in rule["Assertions"].as_array().into_iter().flatten() {
                if self.decide(&assertion["Assert"], 0)? == Some(false) {
                    let words =
                        assertion["AssertDescription"].as_str().unwrap_or("an assertion does not hold");
                    bail!("the rule {name}: {}", words.trim_end_matches('.'));
                }
            }
        }
        Ok(())
    }

    /// The resources that there are under these parameters, with values in their places.
    pub(super) fn resources(&self, root: &Value) -> Result<Map<String, Value>> {
        let mut present = Map::new();
        for (name, resource) in root["Resources"].as_object().into_iter().flatten() {
            if self.is_present(name, resource)? {
                present.insert(name.clone(), self.resolved(resource)?.unwrap_or_default());
            }
        }
        Ok(present)
    }

    /// Whether there is the resource; one whose condition cannot be decided here is there.
    fn is_present(&self, name: &str, resource: &Value) -> Result<bool> {
        match &resource["Condition"] {
            Value::Null => Ok(true),
            Value::String(condition) => Ok(self.condition(condition, 0)? != Some(false)),
            other => bail!("Condition of {name} is {other}, expected a condition's name"),
        }
    }

    /// The value with everything in its place that is known here; none for `AWS::NoValue`.
    pub(super) fn resolved(&self, value: &Value) -> Result<Option<Value>> {
        Ok(Some(match value {
            Value::Array(values) => {
                let values = values.iter().map(|value| self.resolved(value));
                Value::Array(values.filter_map(Result::transpose).collect::<Result<_>>()?)
            }
            Value::Object(object) => match only(object) {
                Some(("Ref", name)) => match name.as_str() {
                    Some("AWS::NoValue") => return Ok(None),
                    Some(name) => self.parameter(name).unwrap_or_else(|| value.clone()),
                    None => value.clone(),
                },
                Some(("Fn::If", choice)) => return self.choice(choice),
                Some(("Fn::Sub", argument)) => self.substituted(argument)?.unwrap_or_else(|| value.clone()),
                Some(("Fn::GetAtt", Value::String(path))) => reference(path),
                Some(("Fn::FindInMap", path)) => self.found(path)?.unwrap_or_else(|| value.clone()),
                _ => {
                    let members = object
                        .iter()
                        .map(|(name, value)| Ok(self.resolved(value)?.map(|value| (name.clone(), value))));
                    Value::Object(members.filter_map(Result::transpose).collect::<Result<_>>()?)
                }
            },
            known => known.clone(),
        }))
    }

    fn parameter(&self, name: &str) -> Option<Value> {
        self.parameters.get(name).filter(|value| !value.is_null()).cloned()
    }

    fn choice(&self, choice: &Value) -> Result<Option<Value>> {
        let Some([Value::String(condition), then, otherwise]) = choice.as_array().map(Vec::as_slice) else {
            bail!("an Fn::If is {choice}, expected a condition's name and two values");
        };
        match self.condition(condition, 0)? {
            Some(true) => self.resolved(then),
            Some(false) => self.resolved(otherwise),
            None => Ok(Some(json!({ "Fn::If": choice }))),
        }
    }

    fn found(&self, path: &Value) -> Result<Option<Value>> {
        let path: Vec<_> = path.as_array().into_iter().flatten().collect();
        let mut keys = Vec::new();
        for key in &path {
            match self.resolved(key)?.as_ref().and_then(text) {
                Some(key) => keys.push(key),
                None => return Ok(None),
            }
        }
        let found = keys.iter().try_fold(&self.mappings, |within, key| within.get(key));
        match found {
            Some(found) if keys.len() == 3 => Ok(Some(found.clone())),
            _ => bail!("the template's Mappings hold nothing at {}", keys.join(", ")),
        }
    }

    /// The text of an `Fn::Sub`, if all that it needs has a value here. One reference alone is that reference.
    fn substituted(&self, argument: &Value) -> Result<Option<Value>> {
        let none = Map::new();
        let (pattern, own) = match argument.as_array().map(Vec::as_slice) {
            Some([pattern, Value::Object(own)]) => (text(pattern), own),
            _ => (text(argument), &none),
        };
        let Some(pattern) = pattern else {
            bail!("an Fn::Sub is {argument}, expected a text, or a text and its variables");
        };
        let (mut whole, mut rest) = (String::new(), pattern.as_str());
        while let Some((before, name, behind)) = variable(rest) {
            whole.push_str(before);
            rest = behind;
            if let Some(literal) = name.strip_prefix('!') {
                whole.push_str(&format!("${{{literal}}}"));
                continue;
            }
            let value = match own.get(name) {
                Some(value) => self.resolved(value)?,
                None => self.parameter(name),
            };
            match value.as_ref().and_then(text) {
                Some(value) => whole.push_str(&value),
                None if pattern.len() == "${}".len() + name.len() => {
                    return Ok(Some(value.unwrap_or_else(|| reference(name))));
                }
                None => return Ok(None),
            }
        }
        whole.push_str(rest);
        Ok(Some(Value::String(whole)))
    }

    /// Whether a condition holds; none where that cannot be known here.
    fn condition(&self, name: &str, depth: usize) -> Result<Option<bool>> {
        let condition = self.conditions.get(name).ok_or_else(|| anyhow!("there is no condition {name}"))?;
        if depth > DEPTH {
            bail!("the condition {name} needs itself, or more than {DEPTH} others");
        }
        self.decide(condition, depth + 1)
    }

    fn decide(&self, condition: &Value, depth: usize) -> Result<Option<bool>> {
        let Some((function, argument)) = condition.as_object().and_then(only) else { return Ok(None) };
        if let ("Condition", Some(name)) = (function, argument.as_str()) {
            return self.condition(name, depth);
        }
        let arguments = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        let decided = || arguments.iter().map(|inner| self.decide(inner, depth)).collect::<Result<Vec<_>>>();
        let known = |value: &Value| Ok::<_, anyhow::Error>(self.resolved(value)?.as_ref().and_then(text));
        Ok(match (function, arguments) {
            ("Fn::Equals", [one, other]) => known(one)?.zip(known(other)?).map(|(one, other)| one == other),
            ("Fn::Contains", [list, one]) => {
                let list =
                    list.as_array().into_iter().flatten().map(known).collect::<Result<Option<Vec<_>>>>()?;
                list.zip(known(one)?).map(|(list, one)| list.contains(&one))
            }
            ("Fn::Not", [_]) => decided()?[0].map(|holds| !holds),
            ("Fn::And", _) => all(&decided()?),
            ("Fn::Or", _) => {
                let none: Vec<_> = decided()?.into_iter().map(|holds| holds.map(|holds| !holds)).collect();
                all(&none).map(|holds| !holds)
            }
            _ => None,
        })
    }

    /// A number, or `default` where there is none.
    pub(super) fn number(&self, of: &Map<String, Value>, name: &str, default: i64) -> Result<i64> {
        let Some(value) = of.get(name) else { return Ok(default) };
        let text =
            text(value).ok_or_else(|| anyhow!("{name} is {value}, expected a number that is known here"))?;
        text.parse().map_err(|_| anyhow!("{name} is {text}, expected a number"))
    }

    /// A number of the resource `name` that AWS takes in this range only.
    pub(super) fn within(
        &self,
        name: &str,
        of: &Map<String, Value>,
        member: &str,
        default: i64,
        allowed: RangeInclusive<i64>,
    ) -> Result<i64> {
        let number = self.number(of, member, default)?;
        if !allowed.contains(&number) {
            bail!("{member} of {name} is {number}, expected {} to {}", allowed.start(), allowed.end());
        }
        Ok(number)
    }

    pub(super) fn truth(&self, of: &Map<String, Value>, name: &str) -> Result<bool> {
        let Some(value) = of.get(name) else { return Ok(false) };
        match text(value).as_deref() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => bail!("{name} is {value}, expected true or false"),
        }
    }

    /// A queue gives its URL to `!Ref`, and to `!GetAtt` by that name.
    pub(super) fn is_queue_url(&self, value: &Value) -> bool {
        let of_queue = |queue: &String| {
            value["Ref"] == queue.as_str() || value["Fn::GetAtt"] == json!([queue, "QueueUrl"])
        };
        self.queues.iter().any(of_queue)
    }

    pub(super) fn is_queue_arn(&self, value: &Value) -> bool {
        self.queues.iter().any(|queue| value["Fn::GetAtt"] == json!([queue, "Arn"]))
    }

    pub(super) fn is_bucket_arn(&self, value: &Value) -> bool {
        self.buckets.iter().any(|bucket| value["Fn::GetAtt"] == json!([bucket, "Arn"]))
    }

    pub(super) fn is_stream_arn(&self, value: &Value) -> bool {
        let stream = self.stream.as_deref().unwrap_or_default();
        value["Fn::GetAtt"] == json!([stream, "Arn"])
    }
}

/// What AWS would refuse of a parameter's value, patterns aside.
fn check_parameter(name: &str, value: &str, about: &Value) -> Result<()> {
    let allowed: Vec<_> = about["AllowedValues"].as_array().into_iter().flatten().filter_map(text).collect();
    if !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == value) {
        bail!("the parameter {name} is {value}, expected one of {}", allowed.join(", "));
    }
    let characters = u64::try_from(value.chars().count()).unwrap_or(u64::MAX);
    if about["MinLength"].as_u64().is_some_and(|least| characters < least)
        || about["MaxLength"].as_u64().is_some_and(|most| characters > most)
    {
        let (least, most) = (text(&about["MinLength"]), text(&about["MaxLength"]));
        let (least, most) =
            (least.unwrap_or_else(|| "0".into()), most.unwrap_or_else(|| "any number of".into()));
        bail!("the parameter {name} has {characters} characters, expected {least} to {most}");
    }
    if about["Type"] == "Number" {
        let least = about["MinValue"].as_i64().unwrap_or(i64::MIN);
        let most = about["MaxValue"].as_i64().unwrap_or(i64::MAX);
        if !value.parse().is_ok_and(|number: i64| (least..=most).contains(&number)) {
            let (from, to) = (text(&about["MinValue"]), text(&about["MaxValue"]));
            let from = from.map(|from| format!(" from {from}")).unwrap_or_default();
            let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
            bail!("the parameter {name} is {value}, expected a number{from}{to}");
        }
    }
    Ok(())
}

/// The one member of an object that has no other.
fn only(object: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut members = object.iter();
    members.next().filter(|_| members.next().is_none()).map(|(name, value)| (name.as_str(), value))
}

/// Whether the value is one that AWS makes of others: it has no members of its own.
pub(super) fn is_intrinsic(value: &Value) -> bool {
    let member = value.as_object().and_then(only);
    member.is_some_and(|(name, _)| ["Ref", "Condition"].contains(&name) || name.starts_with("Fn::"))
}

/// The first `${…}` of a text: what is before it, in it and behind it.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, behind) = rest.split_once('}')?;
    Some((before, name, behind))
}

/// What `${name}` refers to where no parameter is meant: a resource, or an attribute of one.
fn reference(name: &str) -> Value {
    match name.split_once('.') {
        Some((of, attribute)) => json!({ "Fn::GetAtt": [of, attribute] }),
        None => json!({ "Ref": name }),
    }
}

/// Whether all hold: one that does not settles it, whatever of the others is not known.
fn all(conditions: &[Option<bool>]) -> Option<bool> {
    if conditions.contains(&Some(false)) {
        return Some(false);
    }
    (!conditions.contains(&None)).then_some(true)
}

/// A scalar as its text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
