use local::stream::Position;

use super::*;

const TEMPLATE: &str = include_str!("../../../../template.yaml");

#[test]
fn the_projects_own_template_is_understood() {
    let template = Template::parse(TEMPLATE, &[]).unwrap();
    let stream = Stream { shards: 4, encrypted: true, retention_hours: 48, max_record_kib: 1024 };
    assert_eq!(template.stream, stream);
    assert_eq!(template.producer.timeout, Duration::from_secs(20));
    let variable = |name: &str| {
        let mut all = template.producer.environment.iter();
        all.find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    assert_eq!(variable("STREAM_ARN"), Some(Variable::StreamArn));
    assert_eq!(variable("UNDELIVERED_QUEUE_URL"), Some(Variable::QueueUrl));
    assert_eq!(variable("PARTITION_KEY_EXPRESSION"), Some(Variable::Text("[0:4]".into())));
    assert_eq!(variable("AWS_LAMBDA_LOG_FORMAT"), Some(Variable::Text("JSON".into())));
    let asynchronous = Asynchronous { retries: 2, age: Duration::from_secs(3_600), on_failure: true };
    assert_eq!(template.producer.asynchronous, asynchronous);
    let by_default = Asynchronous { retries: 2, age: Duration::from_secs(21_600), on_failure: false };
    assert_eq!(template.consumer.asynchronous, by_default);
    let mapping = Settings {
        batch_size: 500,
        window: Duration::from_secs(1),
        attempts: Some(10),
        record_age: Some(Duration::from_secs(86_400)),
        bisect: true,
        partial_answers: true,
        from: Position::TrimHorizon,
    };
    assert_eq!(template.mapping, mapping);
}

/// The project's template under these parameters.
fn under(given: &[(&str, &str)]) -> Result<Template> {
    let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Template::parse(TEMPLATE, &given)
}

#[test]
fn parameters_stand_in_for_their_defaults() {
    let template =
        under(&[("PartitionKeyExpression", "[0]"), ("BatchSize", "7"), ("BatchingWindow", "0")]).unwrap();
    let key = ("PARTITION_KEY_EXPRESSION".to_owned(), Variable::Text("[0]".into()));
    assert!(template.producer.environment.contains(&key));
    assert_eq!((template.mapping.batch_size, template.mapping.window), (7, Duration::ZERO));
}

#[test]
fn conditions_and_mappings_give_the_values_that_they_would_in_aws() {
    let parameters = [("ShardCount", "3"), ("RetentionHours", "168"), ("MaxRecordMiB", "4")];
    let template = under(&parameters).unwrap();
    let stream = Stream { shards: 3, encrypted: true, retention_hours: 168, max_record_kib: 4096 };
    assert_eq!(template.stream, stream);
    let most = ("MAX_RECORD_BYTES".to_owned(), Variable::Text("4194304".into()));
    assert!(template.producer.environment.contains(&most));
    assert_eq!(template.mapping.record_age, Some(Duration::from_secs(302_400)));
}

#[test]
fn what_is_for_aws_alone_is_named() {
    let notes = |given: &[(&str, &str)]| under(given).unwrap().notes.join("\n");
    let by_default = notes(&[]);
    for named in [
        "DestinationConfig and MetricsConfig of the template's Mapping",
        "of AWS::CloudWatch::Alarm",
        "Overview",
        "SystemLogLevel",
    ] {
        assert!(by_default.contains(named), "{named} is not in {by_default}");
    }
    for hidden in ["Concurrent", "Listener", "Api", "Url"] {
        assert!(!by_default.contains(hidden), "{hidden} is in {by_default}");
    }
    let more = notes(&[
        ("ProducerConcurrency", "5"),
        ("HttpApi", "true"),
        ("FunctionUrl", "true"),
        ("Dashboard", "false"),
        ("GatewayServiceToken", "arn"),
        ("GatewayServiceRole", "arn"),
        ("GatewayApiKey", "key"),
        ("GatewayNetworks", "192.0.2.0/24"),
    ]);
    for named in ["ReservedConcurrentExecutions of the template's Producer", "Listener", "Api", "Url"] {
        assert!(more.contains(named), "{named} is not in {more}");
    }
    assert!(!more.contains("Overview"), "{more}");
}

#[track_caller]
fn check_parameters_refused(given: &[(&str, &str)], want: &str) {
    let why = format!("{:#}", under(given).unwrap_err());
    assert!(why.contains(want), "{why}");
}

#[test]
fn a_parameter_is_held_to_its_declaration() {
    check_parameters_refused(&[("Shards", "1")], "no parameter Shards; there are");
    check_parameters_refused(
        &[("PartitionKeyFormatter", "rot13")],
        "rot13, expected one of hex, base64, ascii, utf8",
    );
    check_parameters_refused(&[("BatchSize", "10001")], "BatchSize is 10001, expected");
    check_parameters_refused(
        &[("BatchSize", "0")],
        "the parameter BatchSize is 0, expected a number from 1 to 10000",
    );
    check_parameters_refused(
        &[("ShardCount", "few")],
        "the parameter ShardCount is few, expected a number from 0",
    );
    assert!(under(&[("PartitionKeyFormatter", "ascii")]).is_ok());
}

#[test]
fn the_templates_rules_hold_here_too() {
    check_parameters_refused(&[("ApplicationLogLevel", "WARN")], "the rule PacketLinesAreNotHidden: This");
    assert!(under(&[("ApplicationLogLevel", "WARN"), ("LogPackets", "none")]).is_ok());
    assert!(under(&[("ApplicationLogLevel", "DEBUG")]).is_ok());
    check_parameters_refused(&[("GatewayServiceToken", "arn")], "the rule ListenerIsWhole");
}

#[track_caller]
fn check_refused(from: &str, to: &str, want: &str) {
    assert!(TEMPLATE.contains(from), "the template has no {from}");
    let why = format!("{:#}", Template::parse(&TEMPLATE.replace(from, to), &[]).unwrap_err());
    assert!(why.contains(want), "{why}");
}

#[test]
fn what_would_change_what_happens_to_records_is_refused_by_name() {
    check_parameters_refused(&[("ParallelizationFactor", "2")], "ParallelizationFactor");
    check_refused("BatchSize: !Ref", "TumblingWindowInSeconds: !Ref", "TumblingWindowInSeconds");
    check_refused("BatchSize: !Ref BatchSize", "FilterCriteria: {}", "FilterCriteria");
    check_refused(
        "MaxRecordSizeInKiB:",
        "RecordDistributionStrategy: AUTO\n      X:",
        "RecordDistributionStrategy",
    );
}

#[test]
fn mistaken_values_are_refused_by_name() {
    check_refused("BatchSize: !Ref BatchSize", "BatchSize: 10001", "BatchSize of Mapping");
    check_refused("BatchSize: !Ref BatchSize", "BatchSize: many", "BatchSize is many");
    check_refused(
        "BatchSize: !Ref BatchSize",
        "BatchSize: !Ref Elsewhere",
        "expected a number that is known here",
    );
    check_refused("Timeout: 20", "Timeout: 901", "Timeout of Producer is 901");
    check_refused(
        "[ReportBatchItemFailures]",
        "[ReportBatchItemFailure]",
        "FunctionResponseTypes of Mapping",
    );
    check_refused("RecordAge: 86400", "RecordAge: 59", "less than 60");
    check_refused(
        "RetentionPeriodHours: !Ref RetentionHours",
        "RetentionPeriodHours: 23",
        "expected 24 to 8760",
    );
    check_refused(
        "[OnDemand, ON_DEMAND, PROVISIONED]",
        "[OnDemand, PROVISIONED, x]",
        "ShardCount of Stream is 0",
    );
    check_refused("StartingPosition: TRIM_HORIZON", "StartingPosition: FIRST", "StartingPosition");
    check_refused(
        "MaximumRetryAttempts: 2",
        "MaximumRetryAttempts: 3",
        "MaximumRetryAttempts of Producer is 3, expected 0 to 2",
    );
    check_refused("MaximumEventAgeInSeconds: 3600", "MaximumEventAgeInSeconds: 59", "expected 60 to 21600");
    check_refused("Binary: producer", "Binary: other", "Binary: producer");
}

#[test]
fn misspelt_keys_are_refused_by_name() {
    check_refused("      Timeout: 20", "      TimeOut: 20", "Producer has TimeOut, which is not known");
    check_refused("    Runtime: provided", "    RunTime: provided", "Globals has RunTime");
    check_refused(
        "        ApplicationLogLevel: !Ref",
        "        LogLevel: !Ref",
        "LoggingConfig of Producer has LogLevel",
    );
    check_refused("BisectBatchOnFunctionError", "BisectBatchOnError", "Mapping has BisectBatchOnError");
    check_refused("RetentionPeriodHours", "RetentionPeriod", "Stream has RetentionPeriod");
    check_refused(
        "  Mapping:\n",
        "  Mapping:\n    DependOn: Stream\n",
        "Mapping has DependOn, expected one of",
    );
}

#[test]
fn mistaken_conditions_are_refused_by_name() {
    check_refused("!If [OnDemand, ON", "!If [OnDemanded, ON", "there is no condition OnDemanded");
    check_refused(
        "OnDemand: !Equals",
        "OnDemand: !Or [!Condition OnDemand, !Condition OnDemand]\n  X: !Equals",
        "needs itself",
    );
    check_refused(
        "RetentionHours, RecordAge]",
        "RetentionHours, Age]",
        "Mappings hold nothing at Retention, 48, Age",
    );
    check_refused(
        "!If [OnDemand, ON_DEMAND, PROVISIONED]",
        "!If [OnDemand]",
        "expected a condition's name and two",
    );
}

#[track_caller]
fn check_decided(condition: &str, want: Option<&str>) {
    let text = format!(
        "Parameters: {{P: {{Default: x}}}}\nConditions: {{Yes: !Equals [!Ref P, x], No: !Not [!Condition Yes], C: {condition}}}\n"
    );
    let documents = Yaml::load_from_str(&text).unwrap();
    let root = yaml::json_of(&documents[0], 0).unwrap();
    let resolver = Resolver::new(&root, &[]).unwrap();
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

#[test]
fn what_is_no_template_is_refused() {
    for text in ["", "[", "a: b", "- 1"] {
        assert!(Template::parse(text, &[]).is_err(), "{text}");
    }
}
