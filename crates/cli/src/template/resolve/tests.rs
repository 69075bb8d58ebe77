use saphyr::{LoadableYamlNode, Yaml};

use super::super::yaml;
use super::*;

#[track_caller]
fn json_of(text: &str) -> Value {
    yaml::json_of(&Yaml::load_from_str(text).unwrap()[0], 0).unwrap()
}

#[track_caller]
fn check_declared(declaration: &str, given: &str, want: Result<(), &str>) {
    let root = json_of(&format!("Parameters: {{P: {declaration}}}"));
    let made = Resolver::new(&root, &[("P".into(), given.into())]).map(|_| ());
    assert_eq!(made.map_err(|why| why.to_string()), want.map_err(str::to_owned), "{declaration}");
}

#[test]
fn a_parameters_length_is_held_to_its_declaration() {
    check_declared("{MinLength: 2, MaxLength: 3}", "abc", Ok(()));
    check_declared("{MaxLength: 1}", "\u{e4}", Ok(()));
    check_declared(
        "{MinLength: 2, MaxLength: 3}",
        "a",
        Err("the parameter P has 1 characters, expected 2 to 3"),
    );
    check_declared("{MaxLength: 3}", "abcd", Err("the parameter P has 4 characters, expected 0 to 3"));
}

#[track_caller]
fn check_substituted(pattern: &str, want: Value) {
    let root = json_of("Parameters: {P: {Default: x}, N: {Default: 5}}");
    let value = Resolver::new(&root, &[]).unwrap().resolved(&json_of(pattern)).unwrap();
    assert_eq!(value, Some(want), "{pattern}");
}

#[test]
fn a_sub_has_a_value_if_all_of_it_has() {
    check_substituted("!Sub a-${P}-${N}b", json!("a-x-5b"));
    check_substituted("!Sub ''", json!(""));
    check_substituted("!Sub '${!P}$P${'", json!("${P}$P${"));
    check_substituted("!Sub ['${V}${P}', {V: !Ref N, P: y}]", json!("5y"));
    check_substituted("!Sub ${Stream}", json!({ "Ref": "Stream" }));
    check_substituted("!Sub ${Stream.Arn}", json!({ "Fn::GetAtt": ["Stream", "Arn"] }));
    check_substituted("!Sub ['${V}', {V: !GetAtt Stream.Arn}]", json!({ "Fn::GetAtt": ["Stream", "Arn"] }));
    check_substituted("!Sub '${P}${AWS::Region}'", json!({ "Fn::Sub": "${P}${AWS::Region}" }));
    check_substituted("{Fn::GetAtt: Stream.Arn}", json!({ "Fn::GetAtt": ["Stream", "Arn"] }));
}

#[track_caller]
fn check_decided(condition: &str, want: Option<&str>) {
    let text = format!(
        "Parameters: {{P: {{Default: x}}}}\nConditions: {{Yes: !Equals [!Ref P, x], No: !Not [!Condition Yes], C: {condition}}}\n"
    );
    let resolver = Resolver::new(&json_of(&text), &[]).unwrap();
    let value = resolver.resolved(&json!({ "Fn::If": ["C", "yes", "no"] })).unwrap().unwrap();
    assert_eq!(value.as_str(), want, "{condition}");
}

#[test]
fn conditions_are_decided_as_far_as_their_parts_are_known() {
    check_decided("!Condition Yes", Some("yes"));
    check_decided("!Condition No", Some("no"));
    check_decided("!And [!Condition Yes, !Condition No]", Some("no"));
    check_decided("!Or [!Condition Yes, !Condition No]", Some("yes"));
    check_decided("!Equals [!Ref AWS::Region, x]", None);
    check_decided("!And [!Condition No, !Equals [!Ref AWS::Region, x]]", Some("no"));
    check_decided("!And [!Condition Yes, !Equals [!Ref AWS::Region, x]]", None);
    check_decided("!Or [!Condition Yes, !Equals [!Ref AWS::Region, x]]", Some("yes"));
    check_decided("!Or [!Condition No, !Equals [!Ref AWS::Region, x]]", None);
    check_decided("!Not [!Equals [!Ref AWS::Region, x]]", None);
    check_decided("!Equals [!Ref P, !If [Yes, x, y]]", Some("yes"));
}
