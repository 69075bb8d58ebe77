//! CloudFormation's YAML as JSON.

use anyhow::{Result, anyhow, bail};
use saphyr::Yaml;
use serde_json::{Value, json};

/// Deepest nesting of a template that is read.
const DEPTH: usize = 64;

/// YAML as JSON, with CloudFormation's short forms (`!Ref x`) written long (`{"Ref": "x"}`).
pub(super) fn json_of(yaml: &Yaml<'_>, depth: usize) -> Result<Value> {
    if depth > DEPTH {
        bail!("it is nested deeper than {DEPTH} levels");
    }
    let inner = |yaml: &Yaml<'_>| json_of(yaml, depth + 1);
    if let Yaml::Tagged(tag, value) = yaml {
        let value = inner(value)?;
        return Ok(match tag.suffix.as_str() {
            "Ref" | "Condition" => json!({ tag.suffix.as_str(): value }),
            "GetAtt" => {
                let parts =
                    value.as_str().and_then(|text| text.split_once('.')).map(|(of, name)| json!([of, name]));
                json!({ "Fn::GetAtt": parts.unwrap_or(value) })
            }
            name => json!({ format!("Fn::{name}"): value }),
        });
    }
    if let Some(mapping) = yaml.as_mapping() {
        let member = |(key, value): (&Yaml<'_>, &Yaml<'_>)| {
            let key = key.as_str().ok_or_else(|| anyhow!("a key is no text: {key:?}"))?;
            Ok((key.to_owned(), inner(value)?))
        };
        return Ok(Value::Object(mapping.iter().map(member).collect::<Result<_>>()?));
    }
    if let Some(sequence) = yaml.as_sequence() {
        return Ok(Value::Array(sequence.iter().map(inner).collect::<Result<_>>()?));
    }
    Ok(if let Some(truth) = yaml.as_bool() {
        json!(truth)
    } else if let Some(number) = yaml.as_integer() {
        json!(number)
    } else if let Some(number) = yaml.as_floating_point() {
        json!(number)
    } else {
        yaml.as_str().map_or(Value::Null, |text| json!(text))
    })
}
