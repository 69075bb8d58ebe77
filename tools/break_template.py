"""Breaks template.yaml in every way below and expects the rule beside it, in check_template.py, to notice."""

import sys

import check_template as rules
import template

# For each rule: what stands in the template, and what stands there instead.
BREAKS = {
    rules.every_reference_leads_somewhere: [
        ("!GetAtt Stream.Arn", "!GetAtt Stream.ARN"),
        ("Role: !GetAtt ProducerRole.Arn", "Role: !GetAtt WriterRole.Arn"),
        ("    Condition: HasHttpApi\n    Value", "    Value"),
        ("FunctionName: !Sub ${AWS::StackName}-producer", "FunctionName: !Sub ${StackName}-producer"),
    ],
    rules.every_condition_is_tried_both_ways: [
        ("  HasDashboard: !Equals", "  HasNothing: !Equals [!Ref Dashboard, x]\n  HasDashboard: !Equals")
    ],
    rules.functions_run_on_the_current_runtime: [("provided.al2023", "provided.al2"), ("Handler: bootstrap", "Handler: main")],
    rules.timeouts_leave_their_margins: [("Timeout: 20", "Timeout: 10"), ("Timeout: 20", "Timeout: 30"), ("Timeout: 60", "Timeout: 19")],
    rules.records_are_given_up_before_they_expire: [
        ("RecordAge: 86400", "RecordAge: 172800"),
        ("    \"96\": {RecordAge: 172800}\n", ""),
        ("!FindInMap [Retention, !Ref RetentionHours, RecordAge]\n      Dest", "86400\n      Dest"),
    ],
    rules.the_retention_outlasts_a_day: [("Default: 48", "Default: 24")],
    rules.stream_and_producer_agree_on_the_largest_record: [
        ("KiB: 2048", "KiB: 2000"),
        ("[RecordSize, !Ref MaxRecordMiB, KiB]", "[Retention, !Ref MaxRecordMiB, KiB]"),
    ],
    rules.the_mapping_loses_nothing: [
        ("TRIM_HORIZON #", "LATEST #"),
        ("[ReportBatchItemFailures]", "[]"),
        ("BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError: false"),
        ("!GetAtt FailureBucket.Arn # S3", "!GetAtt UndeliveredQueue.Arn # S3"),
        ("Metrics: [EventCount]", "Metrics: []"),
        ("MaximumRetryAttempts: 10\n", "MaximumRetryAttempts: -1\n"),
        ("      ParallelizationFactor: !Ref", "      FilterCriteria: {}\n      ParallelizationFactor: !Ref"),
    ],
    rules.asynchronous_events_end_in_the_queue: [
        ("Destination: !GetAtt UndeliveredQueue.Arn", "Destination: !GetAtt Stream.Arn"),
        ("MaximumEventAgeInSeconds: 3600", "MaximumEventAgeInSeconds: 21600"),
    ],
    rules.what_is_kept_is_encrypted_private_and_has_an_end: [
        ("SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false"),
        ("BlockPublicAcls: true", "BlockPublicAcls: false"),
        ("      BucketEncryption:", "      BucketEncryptions:"),
        ("ExpirationInDays: 90", "Prefix: aws"),
        ("      StreamEncryption:", "      StreamEncryptions:"),
    ],
    rules.every_function_has_a_log_with_an_end: [
        ("LogGroup: !Ref ProducerLog", "LogGroup: !Ref Log"),
        ("ApplicationLogLevel: !Ref ApplicationLogLevel", "ApplicationLogLevel: INFO"),
        ("LogFormat: JSON", "LogFormat: Text"),
    ],
    rules.a_level_that_hides_packets_is_refused: [
        ("[[TRACE, DEBUG, INFO], !Ref", "[[TRACE, DEBUG, INFO, WARN], !Ref"),
        ("RuleCondition: !Not [!Equals [!Ref LogPackets, none]]", "RuleCondition: !Equals [!Ref LogPackets, all]"),
    ],
    rules.no_way_in_is_open_by_default: [("    Condition: HasFunctionUrl\n", ""), ("Default: AWS_IAM", "Default: NONE")],
    rules.nothing_of_the_gateway_is_read_without_a_listener: [
        ("Mappings:\n", "Mappings:\n  Gateway: {'Fn::Transform': {Name: 'AWS::Include'}}\n")
    ],
    rules.no_role_comes_from_elsewhere: [
        ("      Policies:\n", "      ManagedPolicyArns: []\n      Policies:\n"),
        ("      Role: !GetAtt ConsumerRole.Arn\n", ""),
    ],
    rules.every_wildcard_has_its_reason: [
        ("Action: kinesis:PutRecords", "Action: kinesis:*"),
        ("Resource: !GetAtt UndeliveredQueue.Arn", 'Resource: "*"'),
    ],
    rules.every_setting_can_be_set: [
        ("          ORDERING: !Ref Ordering\n", ""),
        ("LOG_PACKETS: !Ref", "LOG_PACKET: !Ref"),
        ("LOG_PACKETS: !Ref LogPackets", "LOG_PACKETS: all"),
    ],
    rules.every_parameter_is_described_grouped_and_documented: [
        ("    Description: Instruction set", "    Descriptio: Instruction set"),
        ("[HttpApi, FunctionUrl,", "[FunctionUrl,"),
        ("\n  Ordering:\n", "\n  Orderly:\n"),
    ],
    rules.everything_is_watched: [
        ("MetricName: DroppedEventCount", "MetricName: PolledEventCount"),
        ("LogGroupName: !Ref ConsumerLog", "LogGroupName: !Ref ProducerLog"),
    ],
    rules.no_alarm_rests_on_our_own_metrics: [("      Namespace: AWS/SQS", "      Namespace: Rivulet")],
    rules.every_alarm_tells_somebody_what_it_means: [
        ("      OKActions: !If [HasAlarmTopic, [!Ref AlarmTopicArn], !Ref AWS::NoValue]\n", ""),
        ("TreatMissingData: notBreaching", "TreatMissingData: missing"),
        ("TreatMissingData: ignore", "TreatMissingData: notBreaching"),
        ("  NothingReadAlarm:", "  NothingAlarm:"),
    ],
    rules.what_is_filled_in_decides_no_alarm: [("      DatapointsToAlarm: 5\n", ""), ("EvaluationPeriods: 4", "EvaluationPeriods: 3")],
    rules.error_lines_are_errors: [(' && $.message != "record"', "")],
    rules.the_dashboard_shows_what_there_is: [('"Rivulet","Retries"', '"Rivulet","Retrys"'), ('["AWS/SQS"', '["AWS/SNS"')],
}


def complaints(rule, text):
    try:
        return set(rule(rules.Given(text)))
    except (KeyError, ValueError) as error:  # noticed as well: what the rule asks about is not there
        return {repr(error)}


def main():
    text = template.PATH.read_text()
    unnoticed = [f"nothing breaks {rule.__name__}" for rule in rules.rules() if rule not in BREAKS]
    for rule, breaks in BREAKS.items():
        before = complaints(rule, text)
        for there, instead in breaks:
            if there not in text:
                unnoticed.append(f"{rule.__name__}: {there!r} is not in the template")
            elif not complaints(rule, text.replace(there, instead, 1)) - before:
                unnoticed.append(f"{rule.__name__} does not notice {instead!r} for {there!r}")
    print("\n".join([*unnoticed, f"template.yaml broken in {sum(map(len, BREAKS.values()))} ways, {len(unnoticed)} unnoticed"]))
    return bool(unnoticed)


if __name__ == "__main__":
    sys.exit(main())
