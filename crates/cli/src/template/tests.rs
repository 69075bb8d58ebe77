use local::stream::Position;

use super::*;

const TEMPLATE: &str = include_str!("../../../../template.yaml");

#[test]
fn the_projects_own_template_is_understood() {
    let template = Template::parse(TEMPLATE, &[]).unwrap();
    let stream =
        Stream { shards: 4, on_demand: true, encrypted: true, retention_hours: 48, max_record_kib: 1024 };
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
        parallelization_factor: 1,
        attempts: Some(10),
        record_age: Some(Duration::from_secs(86_400)),
        bisect: true,
        partial_answers: true,
        from: Position::TrimHorizon,
        enabled: true,
    };
    assert_eq!(template.mapping, mapping);
    assert_eq!(template.on_failure, Some(OnFailure::Bucket));
}

#[test]
fn what_is_given_up_goes_to_the_queue_or_the_bucket_that_the_template_names() {
    let of = |destination: &str| {
        let named = TEMPLATE.replace("Destination: !GetAtt FailureBucket.Arn", destination);
        assert_ne!(named, TEMPLATE, "{destination}");
        let template = Template::parse(&named, &[]).unwrap();
        let notes = template.notes.join("\n");
        (template.on_failure, notes.contains("OnFailure of the template's Mapping"))
    };
    assert_eq!(of("Destination: !GetAtt UndeliveredQueue.Arn"), (Some(OnFailure::Queue), false));
    assert_eq!(of("Destination:  !GetAtt FailureBucket.Arn"), (Some(OnFailure::Bucket), false));
    assert_eq!(of("Destination: arn:aws:sns:us-east-1:123456789012:t"), (None, true));
    let none = TEMPLATE.replace("      DestinationConfig:\n        OnFailure:\n          Destination: !GetAtt FailureBucket.Arn # S3, for it alone receives the records themselves\n", "");
    assert_eq!(Template::parse(&none, &[]).unwrap().on_failure, None);
}

#[test]
fn several_batches_of_a_shard_may_go_at_once() {
    let template = under(&[("ParallelizationFactor", "10")]).unwrap();
    assert_eq!(template.mapping.parallelization_factor, 10);
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
    let stream =
        Stream { shards: 3, on_demand: false, encrypted: true, retention_hours: 168, max_record_kib: 4096 };
    assert_eq!(template.stream, stream);
    let most = ("MAX_RECORD_BYTES".to_owned(), Variable::Text("4194304".into()));
    assert!(template.producer.environment.contains(&most));
    assert_eq!(template.mapping.record_age, Some(Duration::from_secs(302_400)));
}

#[test]
fn what_is_for_aws_alone_is_named() {
    let notes = |given: &[(&str, &str)]| under(given).unwrap().notes.join("\n");
    let by_default = notes(&[]);
    for named in
        ["MetricsConfig of the template's Mapping", "of AWS::CloudWatch::Alarm", "Overview", "SystemLogLevel"]
    {
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
fn check_parameter_noted(given: (&str, &str), want: Option<&str>) {
    let notes = under(&[given]).unwrap().notes;
    let found = notes.iter().find(|note| note.contains("AllowedPattern"));
    assert_eq!(found.map(String::as_str), want);
}

#[test]
fn a_pattern_that_a_given_parameter_has_is_named_as_not_checked() {
    let want = Some("AllowedPattern of LogPackets: for AWS, not checked here");
    check_parameter_noted(("LogPackets", "most"), want);
    check_parameter_noted(("BatchSize", "1"), None);
}

#[track_caller]
fn check_begins(starting: &str, want: (Position, bool)) {
    let text = TEMPLATE.replace("StartingPosition: TRIM_HORIZON", starting);
    let Template { mapping, notes, .. } = Template::parse(&text, &[]).unwrap();
    assert_eq!((mapping.from, mapping.enabled), want, "{starting}");
    let says = notes.iter().any(|note| note.contains("the template's Mapping is not Enabled"));
    assert_eq!(says, !want.1, "{notes:?}");
}

#[test]
fn a_mapping_begins_where_and_when_the_template_says() {
    check_begins("StartingPosition: LATEST", (Position::Latest, true));
    check_begins("Enabled: false\n      StartingPosition: LATEST", (Position::Latest, false));
    check_begins("Enabled: true\n      StartingPosition: TRIM_HORIZON", (Position::TrimHorizon, true));
    for (seconds, ms) in [("1700000000", 1_700_000_000_000), ("1700000000.25", 1_700_000_000_250)] {
        let at = format!("StartingPosition: AT_TIMESTAMP\n      StartingPositionTimestamp: {seconds}");
        check_begins(&at, (Position::AtTimestamp(ms), true));
    }
}

#[track_caller]
fn check_refused(from: &str, to: &str, want: &str) {
    assert!(TEMPLATE.contains(from), "the template has no {from}");
    let why = format!("{:#}", Template::parse(&TEMPLATE.replace(from, to), &[]).unwrap_err());
    assert!(why.contains(want), "{why}");
}

#[test]
fn what_would_change_what_happens_to_records_is_refused_by_name() {
    for member in [
        "FilterCriteria",
        "KmsKeyArn",
        "LoggingConfig",
        "ProvisionedPollerConfig",
        "Queues",
        "ScalingConfig",
        "SourceAccessConfigurations",
        "Topics",
        "TumblingWindowInSeconds",
    ] {
        let of = format!("{member}: 1\n      BatchSize: !Ref");
        check_refused("BatchSize: !Ref", &of, &format!("Mapping has {member}, which is not known"));
    }
    check_refused(
        "MaxRecordSizeInKiB:",
        "RecordDistributionStrategy: AUTO\n      X:",
        "RecordDistributionStrategy",
    );
}

#[track_caller]
fn check_noted(from: &str, to: &str, want: &str) {
    assert!(TEMPLATE.contains(from), "the template has no {from}");
    let notes = Template::parse(&TEMPLATE.replace(from, to), &[]).unwrap().notes.join("\n");
    assert!(notes.contains(want), "{want} is not in {notes}");
}

#[test]
fn what_has_no_effect_is_noted_by_name() {
    check_noted("Globals:\n", "Globals:\n  HttpApi: {}\n", "HttpApi of the template's Globals");
    check_noted(
        "    Runtime: provided",
        "    Tracing: Active\n    Runtime: provided",
        "Tracing of the template's Globals.Function",
    );
    check_noted("MaximumMessageSize: 1048576", "DelaySeconds: 5", "DelaySeconds and MessageRetentionPeriod");
    check_noted(
        "MaximumMessageSize: 1048576",
        "MaximumMessageSize: 262144",
        "MaximumMessageSize of the template's UndeliveredQueue: here it is 1048576 bytes",
    );
    check_noted(
        "          OnFailure:\n            Type",
        "          OnSuccess:\n            Type",
        "OnSuccess of Producer",
    );
    check_noted("ORDERING: !Ref Ordering", "OWN: !Ref AWS::Region", "OWN is {\"Ref\":\"AWS::Region\"}");
    check_noted(
        "  Consumer:\n",
        "  Another:\n    Type: AWS::SQS::Queue\n  Consumer:\n",
        "one queue stands for Another and UndeliveredQueue",
    );
}

#[test]
fn a_second_of_what_there_is_one_of_is_refused_by_name() {
    let second = |kind: &str| format!("Resources:\n  Second:\n    Type: {kind}\n");
    for kind in ["AWS::Lambda::EventSourceMapping", "AWS::Kinesis::Stream"] {
        check_refused("Resources:\n", &second(kind), &format!("a second {kind}"));
    }
    let third = second("AWS::Serverless::Function");
    check_refused("Resources:\n", &third, "Second is a third AWS::Serverless::Function");
    let again = format!("{third}    Metadata: {{BuildProperties: {{Binary: producer}}}}\n");
    check_refused("Resources:\n", &again, "Second is a second AWS::Serverless::Function");
}

#[test]
fn one_of_two_streams_that_exclude_each_other_is_the_stream() {
    let other = "Resources:\n  Other:\n    Type: AWS::Kinesis::Stream\n    Condition: HasHttpApi\n";
    let template = Template::parse(&TEMPLATE.replace("Resources:\n", other), &[]).unwrap();
    let arn = ("STREAM_ARN".to_owned(), Variable::StreamArn);
    assert!(template.producer.environment.contains(&arn));
}

#[test]
fn a_mapping_binds_the_stream_to_the_consumer_and_nothing_else() {
    check_refused(
        "FunctionName: !Ref Consumer\n",
        "FunctionName: !Ref Producer\n",
        "expected !Ref Consumer or",
    );
    check_refused("FunctionName: !Ref Consumer\n      S", "S", "FunctionName of Mapping is null");
    let elsewhere = "EventSourceArn: arn:aws:kinesis:eu-west-1:000000000000:stream/packets";
    check_refused("EventSourceArn: !GetAtt Stream.Arn", elsewhere, "EventSourceArn of Mapping is \"arn:aws");
    check_refused("EventSourceArn: !GetAtt Stream.Arn", "", "EventSourceArn of Mapping is null");
    for words in ["!GetAtt Consumer.Arn", "!Sub \"${Consumer.Arn}\"", "!Sub \"${AWS::StackName}-consumer\""] {
        let text = TEMPLATE.replace("FunctionName: !Ref Consumer\n", &format!("FunctionName: {words}\n"));
        assert!(text != TEMPLATE && Template::parse(&text, &[]).is_ok(), "{words}");
    }
}

#[test]
fn a_setting_of_the_functions_has_a_value_or_is_refused() {
    let log = [::function::log::FORMAT, ::function::log::LEVEL];
    for setting in producer::SETTINGS.iter().chain(consumer::SETTINGS).chain(&log) {
        let own = format!("          {}: ", setting.name);
        let from = if TEMPLATE.contains(&own) { own.trim_start() } else { "ORDERING: " };
        check_refused(
            &format!("          {from}"),
            &format!("{own}!Ref AWS::Region #"),
            "{\"Ref\":\"AWS::Region\"}, which has no value here",
        );
    }
    check_refused("ORDERING: !Ref", "ORDERING: #", "ORDERING of Producer is null");
    check_refused("LogFormat: JSON", "LogFormat: !Ref AWS::Region", "LogFormat of Producer is");
    check_refused("        Variables:\n", "        Variable:\n", "Environment of Producer has Variable,");
    check_refused(
        "        Variables:\n",
        "        Variables: !Transform\n",
        "Variables of Producer is {\"Fn::Tr",
    );
}

#[test]
fn globals_and_a_functions_own_members_are_taken_together() {
    let globals = "    Environment: {Variables: {ORDERING: strict, OWN: a}}\n    LoggingConfig: {LogFormat: Text}\n    Runtime:";
    let template = Template::parse(&TEMPLATE.replace("    Runtime:", globals), &[]).unwrap();
    let of = |name: &str| {
        let variables = template.producer.environment.iter();
        variables.filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("ORDERING"), [Variable::Text("relaxed".into())]);
    assert_eq!(of("OWN"), [Variable::Text("a".into())]);
    assert_eq!(of("AWS_LAMBDA_LOG_FORMAT"), [Variable::Text("JSON".into())]);
}

#[test]
fn mistaken_values_are_refused_by_name() {
    check_refused("BatchSize: !Ref BatchSize", "BatchSize: 10001", "BatchSize of Mapping");
    check_refused("BatchSize: !Ref BatchSize", "BatchSize: many", "BatchSize is many");
    check_refused(
        "ParallelizationFactor: !Ref ParallelizationFactor",
        "ParallelizationFactor: 11",
        "ParallelizationFactor of Mapping is 11, expected 1 to 10",
    );
    check_refused(
        "MaximumRetryAttempts: 10",
        "MaximumRetryAttempts: 10001",
        "MaximumRetryAttempts of Mapping is 10001, expected -1 to 10000",
    );
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
    let at = |time: &str| format!("StartingPosition: AT_TIMESTAMP\n      StartingPositionTimestamp: {time}");
    for time in ["soon", "-1", "99999999999", "!Ref AWS::Region"] {
        let want = "StartingPositionTimestamp of Mapping is";
        check_refused("StartingPosition: TRIM_HORIZON", &at(time), want);
    }
    check_refused(
        "StartingPosition: TRIM_HORIZON",
        "StartingPosition: AT_TIMESTAMP",
        "no StartingPositionTimestamp",
    );
    check_refused(
        "StartingPosition: TRIM",
        "StartingPositionTimestamp: 1\n      StartingPosition: TRIM",
        "expected none without AT_TIMESTAMP",
    );
    check_refused("StartingPosition:", "Enabled: maybe\n      StartingPosition:", "Enabled is \"maybe\"");
    check_refused(
        "MaximumRetryAttempts: 2",
        "MaximumRetryAttempts: 3",
        "MaximumRetryAttempts of Producer is 3, expected 0 to 2",
    );
    check_refused("MaximumEventAgeInSeconds: 3600", "MaximumEventAgeInSeconds: 59", "expected 60 to 21600");
    for attempts in ["-2", "10001"] {
        check_refused(
            "MaximumRetryAttempts: 10",
            &format!("MaximumRetryAttempts: {attempts}"),
            &format!("MaximumRetryAttempts of Mapping is {attempts}, expected -1 to 10000"),
        );
    }
    for memory in ["127", "10241"] {
        check_refused(
            "MemorySize: 512",
            &format!("MemorySize: {memory}"),
            &format!("MemorySize of Producer is {memory}, expected 128 to 10240"),
        );
    }
    check_refused("Runtime: provided.al2023", "Runtime: python3.13", "Runtime of Producer is \"python3.13\"");
    check_refused("    Runtime: provided.al2023\n", "", "Runtime of Producer is null");
    check_refused("EncryptionType: KMS", "EncryptionType: NONE", "EncryptionType of Stream is \"NONE\"");
    check_refused("        KeyId: alias/aws/kinesis\n", "", "StreamEncryption of Stream has no KeyId");
    check_refused("[OnDemand, ON_DEMAND, PROVISIONED]", "[OnDemand, [], []]", "StreamMode of Stream is []");
    check_refused(
        "ShardCount: !If [OnDemand, !Ref AWS::NoValue,",
        "ShardCount: !If [OnDemand, 2,",
        "ShardCount of Stream is 2, an ON_DEMAND stream takes none",
    );
    check_refused("SqsManagedSseEnabled: true", "FifoQueue: true", "UndeliveredQueue is a FifoQueue");
    check_refused("MaximumMessageSize: 1048576", "MaximumMessageSize: 1023", "expected 1024 to 1048576");
    check_refused("Condition: HasHttpApi", "Condition: [HasHttpApi]", "expected a condition's name");
    check_refused("Binary: producer", "Binary: other", "Binary: producer");
}

#[test]
fn misspelt_keys_are_refused_by_name() {
    check_refused("      Timeout: 20", "      TimeOut: 20", "Producer has TimeOut, which is not known");
    check_refused("    Runtime: provided", "    RunTime: provided", "Globals.Function has RunTime");
    check_refused(
        "        ApplicationLogLevel: !Ref",
        "        LogLevel: !Ref",
        "LoggingConfig of Producer has LogLevel",
    );
    check_refused("BisectBatchOnFunctionError", "BisectBatchOnError", "Mapping has BisectBatchOnError");
    check_refused("RetentionPeriodHours", "RetentionPeriod", "Stream has RetentionPeriod");
    check_refused("Globals:\n  Function:", "Globals:\n  Functions:", "Globals has Functions");
    check_refused(
        "MaximumEventAgeInSeconds",
        "MaximumEventAge",
        "EventInvokeConfig of Producer has MaximumEventAge,",
    );
    check_refused(
        "          OnFailure:\n            Type",
        "          OnFail:\n            Type",
        "DestinationConfig of Producer has OnFail,",
    );
    check_refused("            Type: SQS", "            Kind: SQS", "OnFailure of Producer has Kind");
    check_refused("EncryptionType: KMS", "Encryption: KMS", "StreamEncryption of Stream has Encryption,");
    check_refused("        StreamMode:", "        Mode:", "StreamModeDetails of Stream has Mode,");
    check_refused(
        "      StreamEncryption:\n",
        "      StreamEncryption: !Transform\n",
        "StreamEncryption of Stream is",
    );
    check_refused("MessageRetentionPeriod", "RetentionPeriod", "UndeliveredQueue has RetentionPeriod,");
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

#[test]
fn what_is_no_template_is_refused() {
    for text in ["", "[", "a: b", "- 1"] {
        assert!(Template::parse(text, &[]).is_err(), "{text}");
    }
}
