"""What no linter asks of template.yaml: each function below holds one rule, and yields what breaks it.

break_template.py breaks the template in many ways and expects the rules to notice.
"""

import itertools
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import template

README = (template.PATH.parent / "README.md").read_text()

# GetAtt has these names for the types that we ask; others are a mistake here or there.
ATTRIBUTES = {
    "AWS::ApiGatewayV2::Api": {"ApiEndpoint"},
    "AWS::IAM::Role": {"Arn"},
    "AWS::Kinesis::Stream": {"Arn"},
    "AWS::Lambda::Url": {"FunctionUrl"},
    "AWS::Logs::LogGroup": {"Arn"},
    "AWS::S3::Bucket": {"Arn"},
    "AWS::SQS::Queue": {"Arn", "QueueName", "QueueUrl"},
    "AWS::Serverless::Function": {"Arn"},
    "Custom::ProxylityUdpGatewayListener": {"Domain", "Port"},
}
PSEUDO = {f"AWS::{name}" for name in ("AccountId", "NoValue", "Partition", "Region", "StackName")}

# What must be watched: namespace, metric, and whose.
WATCHED = [
    ("AWS/ApiGateway", "5xx", "Api"),
    ("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", "Stream"),
    ("AWS/Logs", "IncomingLogEvents", "ListenerLog"),
    ("AWS/Kinesis", "IncomingRecords", "Stream"),
    ("AWS/Kinesis", "WriteProvisionedThroughputExceeded", "Stream"),
    ("AWS/Lambda", "DestinationDeliveryFailures", "Consumer"),
    ("AWS/Lambda", "DestinationDeliveryFailures", "Producer"),
    ("AWS/Lambda", "DroppedEventCount", "Mapping"),
    ("AWS/Lambda", "Errors", "Consumer"),
    ("AWS/Lambda", "Errors", "Producer"),
    ("AWS/Lambda", "IteratorAge", "Consumer"),
    ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", "Mapping"),
    ("AWS/Lambda", "PolledEventCount", "Mapping"),
    ("AWS/Lambda", "Throttles", "Consumer"),
    ("AWS/Lambda", "Throttles", "Producer"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", "UndeliveredQueue"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "UndeliveredQueue"),
]

# Settings that the template leaves alone, and why.
LEFT_ALONE = {
    "STREAM_NAME": "STREAM_ARN is set",
    "PARTITION_KEY_EXPRESSION_FORMATTER": "another name of PARTITION_KEY_FORMATTER",
    "AWS_LAMBDA_LOG_FORMAT": "Lambda sets it, by LoggingConfig",
    "AWS_LAMBDA_LOG_LEVEL": "Lambda sets it, by LoggingConfig",
}

# Seconds: the producer writes until 2 before its timeout, a request takes 5 at most, and an HTTP API waits for 30.
MARGIN, REQUEST, HTTP_API_WAITS = 2, 5, 30


@dataclass
class Given:
    text: str
    of: dict = field(init=False)

    def __post_init__(self):
        self.of = template.parse(self.text)
        self.resources = self.of["Resources"]

    def properties(self, name):
        return self.resources[name]["Properties"]

    def of_type(self, kind):
        return {name: each["Properties"] for name, each in self.resources.items() if each["Type"] == kind}


def nodes(node):
    """Every object within, itself included."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from nodes(each)


def references(node):
    """(name, attribute or None) of every Ref, GetAtt and name in a Sub."""
    for each in nodes(node):
        if "Ref" in each:
            yield each["Ref"], None
        if "Fn::GetAtt" in each:
            yield tuple(each["Fn::GetAtt"])
        if "Fn::Sub" in each:
            text, own = each["Fn::Sub"] if isinstance(each["Fn::Sub"], list) else (each["Fn::Sub"], {})
            for name in re.findall(r"\$\{([^!}]+)\}", text):
                if name not in own:
                    of, _, attribute = name.partition(".")
                    yield of, attribute or None


def statements(given):
    """Every statement of a policy, with the resource it stands in."""
    for name, each in given.resources.items():
        for node in nodes(each):
            for statement in node.get("Statement", []):
                yield name, statement


# --- The rules.


def every_reference_leads_somewhere(given):
    for case, parameters in template.CASES.items():
        decided = template.decided(given.of, parameters)
        for name, attribute in references([decided["Resources"], decided["Outputs"]]):
            resource = decided["Resources"].get(name)
            if attribute is None and (name in PSEUDO or name in given.of["Parameters"] or resource):
                continue
            if not resource or attribute not in ATTRIBUTES.get(resource["Type"], ()):
                yield f"{case}: nothing is {name}{'.' + attribute if attribute else ''}"


def every_condition_is_tried_both_ways(given):
    cases = [template.conditions(given.of, parameters) for parameters in template.CASES.values()]
    for condition in given.of["Conditions"]:
        if {case[condition] for case in cases} != {True, False}:
            yield f"{condition} is the same in every case of tools/template.py"


def functions_run_on_the_current_runtime(given):
    common = given.of["Globals"]["Function"]
    for name, function in given.of_type("AWS::Serverless::Function").items():
        if {**common, **function}.get("Runtime") != "provided.al2023":
            yield f"{name} is not on provided.al2023"
        if {**common, **function}.get("Handler") != "bootstrap":
            yield f"{name} has no bootstrap"


def timeouts_leave_their_margins(given):
    producer, consumer = (given.properties(name)["Timeout"] for name in ("Producer", "Consumer"))
    if producer < MARGIN + 2 * REQUEST:
        yield f"the producer's {producer} s leave no time for a second request"
    if producer >= HTTP_API_WAITS:
        yield f"an HTTP API gives up before the producer's {producer} s"
    if consumer < producer:
        yield f"the consumer has {consumer} s for what the producer has {producer} s"


def records_are_given_up_before_they_expire(given):
    ages = given.of["Mappings"]["Retention"]
    if "Retention" not in str(given.properties("Mapping")["MaximumRecordAgeInSeconds"]):
        yield "the mapping's record age does not follow the retention"
    for hours in given.of["Parameters"]["RetentionHours"]["AllowedValues"]:
        age = ages.get(str(hours), {}).get("RecordAge")
        if age is None or not 60 <= age <= min(604800, hours * 3600 // 2):
            yield f"with {hours} h of retention the record age is {age} s, more than half of it or not allowed"


def the_retention_outlasts_a_day(given):
    if given.of["Parameters"]["RetentionHours"]["Default"] <= 24:
        yield "by default, what was given up after a day is in the stream no more"


def stream_and_producer_agree_on_the_largest_record(given):
    sizes = given.of["Mappings"]["RecordSize"]
    for mib in given.of["Parameters"]["MaxRecordMiB"]["AllowedValues"]:
        size = sizes.get(str(mib), {})
        if (size.get("KiB"), size.get("Bytes")) != (mib * 1024, str(mib * 1024 * 1024)):
            yield f"{mib} MiB are {size}"
    if "RecordSize" not in str(given.properties("Stream")["MaxRecordSizeInKiB"]):
        yield "the stream's MaxRecordSizeInKiB is not that of RecordSize"


def the_mapping_loses_nothing(given):
    mapping = given.properties("Mapping")
    want = {
        "StartingPosition": "TRIM_HORIZON",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": True,
        "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["FailureBucket", "Arn"]}}},
        "MetricsConfig": {"Metrics": ["EventCount"]},
    }
    for name, value in want.items():
        if mapping.get(name) != value:
            yield f"{name} is {mapping.get(name)}, expected {value}"
    if "FilterCriteria" in mapping:
        yield "a filter drops records without a word"
    if not 0 <= mapping.get("MaximumRetryAttempts", -1) <= 10000:
        yield "attempts are not bounded"


def asynchronous_events_end_in_the_queue(given):
    config = given.properties("Producer")["EventInvokeConfig"]
    destination = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    if destination != {"Fn::GetAtt": ["UndeliveredQueue", "Arn"]}:
        yield f"events that were given up go to {destination}"
    if (config.get("MaximumRetryAttempts"), config.get("MaximumEventAgeInSeconds")) != (2, 3600):
        yield "not two attempts more, within an hour"


def what_is_kept_is_encrypted_private_and_has_an_end(given):
    for name, queue in given.of_type("AWS::SQS::Queue").items():
        if queue.get("SqsManagedSseEnabled") is not True or queue.get("MessageRetentionPeriod") != 1209600:
            yield f"{name} is not encrypted, or does not keep its messages for 14 days"
    for name, bucket in given.of_type("AWS::S3::Bucket").items():
        closed = bucket.get("PublicAccessBlockConfiguration", {})
        if len(closed) != 4 or not all(closed.values()):
            yield f"{name} is not closed to the public"
        if "BucketEncryption" not in bucket:
            yield f"{name} is not encrypted"
        rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any("ExpirationInDays" in rule for rule in rules):
            yield f"{name} keeps everything for ever"
    if "StreamEncryption" not in given.properties("Stream"):
        yield "the stream is not encrypted"


def every_function_has_a_log_with_an_end(given):
    for name, function in given.of_type("AWS::Serverless::Function").items():
        logging = function.get("LoggingConfig", {})
        group = given.resources.get(logging.get("LogGroup", {}).get("Ref"), {}).get("Properties", {})
        if "RetentionInDays" not in group:
            yield f"{name} has no log group of its own with a retention"
        for level in ("ApplicationLogLevel", "SystemLogLevel"):
            if logging.get(level) != {"Ref": level}:
                yield f"{name}: {level} is no parameter"
        if logging.get("LogFormat") != "JSON":
            yield f"{name} does not log as JSON, so levels have no effect"


def a_level_that_hides_packets_is_refused(given):
    for packets, level in itertools.product(["all", "none", "1/100"], ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]):
        said = list(template.refusals(given.of, {"LogPackets": packets, "ApplicationLogLevel": level}))
        hides = packets != "none" and level in ("WARN", "ERROR", "FATAL")
        if hides != bool(said):
            yield f"LogPackets={packets} at {level} is {'taken' if hides else 'refused'}"


def no_way_in_is_open_by_default(given):
    decided = template.decided(given.of, {})
    for name, each in decided["Resources"].items():
        if each["Type"].startswith(("AWS::ApiGateway", "AWS::Lambda::Url", "AWS::Lambda::Permission", "Custom::")):
            yield f"{name} is there by default"
    if given.of["Parameters"]["HttpAuthorization"]["Default"] != "AWS_IAM":
        yield "requests need not be signed by default"


def nothing_of_the_gateway_is_read_without_a_listener(given):
    if any("Fn::Transform" in each for each in nodes(given.of)):
        yield "a transform runs whatever the conditions say, and fails where there is no subscription"


def no_role_comes_from_elsewhere(given):
    for name, each in given.resources.items():
        if "ManagedPolicyArns" in each["Properties"]:
            yield f"{name} has a managed policy"
    for name, function in given.of_type("AWS::Serverless::Function").items():
        if "Policies" in function or "Role" not in function:
            yield f"{name} has a role that SAM makes up"


def every_wildcard_has_its_reason(given):
    for number, line in enumerate(given.text.splitlines(), 1):
        if re.match(r"\s*(- )?(Action|Resource|Principal|SourceArn|Bucket)\b.*\*", line.split(" #")[0]) and " # " not in line:
            yield f"line {number} has a wildcard and no reason beside it"
    for name, statement in statements(given):
        if statement["Effect"] == "Allow" and ("*" in json.dumps(statement["Action"]) or statement.get("Resource") == "*"):
            yield f"{name} allows {statement['Action']} on {statement.get('Resource')}"


def every_setting_can_be_set(given):
    sections = re.split(r"^(Producer|Consumer|The log of both):$", README.split("## Settings")[1].split("\n## ")[0], flags=re.M)
    for function, rows in zip(sections[1::2], sections[2::2]):
        documented = set(re.findall(r"^\| `([A-Z_]+)` \|", rows, re.M))
        if function not in given.resources:
            documented -= set(LEFT_ALONE)
            if documented:
                yield f"{documented} are nowhere"
            continue
        variables = given.properties(function)["Environment"]["Variables"]
        for name in sorted(documented - set(LEFT_ALONE) - set(variables)):
            yield f"{function}: {name} cannot be set"
        for name in sorted(set(variables) - documented):
            yield f"{function}: {name} is in no row of the README"
        for name, value in variables.items():
            if not isinstance(value, dict):
                yield f"{function}: {name} is {value} and no parameter"


def every_parameter_is_described_grouped_and_documented(given):
    groups = given.of["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    for name, about in given.of["Parameters"].items():
        if not about.get("Description"):
            yield f"{name} has no description"
        if grouped.count(name) != 1:
            yield f"{name} is in {grouped.count(name)} groups"
        if f"`{name}`" not in README:
            yield f"{name} is not in the README"
    for name in set(grouped) - set(given.of["Parameters"]):
        yield f"{name} is grouped and no parameter"


def watched(given):
    """(namespace, metric, whose) of every alarm."""
    for alarm in given.of_type("AWS::CloudWatch::Alarm").values():
        stats = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each]
        for metric in stats or [alarm]:
            whose = [next(references(each["Value"]))[0] for each in metric.get("Dimensions", [])]
            yield metric["Namespace"], metric["MetricName"], *(whose or [None])


def everything_is_watched(given):
    seen = list(watched(given))
    for want in WATCHED:
        if want not in seen:
            yield f"no alarm on {' '.join(want)}"
    filters = given.of_type("AWS::Logs::MetricFilter").values()
    lines = {(each["MetricTransformations"][0]["MetricNamespace"], each["LogGroupName"]["Ref"]) for each in filters}
    if lines != {("Rivulet/Log", "ProducerLog"), ("Rivulet/Log", "ConsumerLog")} or "Rivulet/Log" not in [of[0] for of in seen]:
        yield "no alarm on ERROR lines of both logs"


def no_alarm_rests_on_our_own_metrics(given):
    for namespace, metric, *_ in watched(given):
        if namespace == "Rivulet":
            yield f"an alarm rests on {metric}, which a killed function does not write"


def every_alarm_tells_somebody_what_it_means(given):
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in given.of_type("AWS::CloudWatch::Alarm").items():
        if alarm.get("AlarmActions") != topic or alarm.get("OKActions") != topic:
            yield f"{name} does not tell the topic"
        # A queue that nobody touches may have no metrics; of everything else silence is a good sign.
        silence = "ignore" if alarm.get("Namespace") == "AWS/SQS" else "notBreaching"
        if not alarm.get("AlarmDescription") or alarm.get("TreatMissingData") != silence:
            yield f"{name} does not say what it means, or what silence means"
        if f"`{name.removesuffix('Alarm')}`" not in README:
            yield f"{name} is not in the README"


def what_is_filled_in_decides_no_alarm(given):
    for name, alarm in given.of_type("AWS::CloudWatch::Alarm").items():
        filled = any("FILL(" in json.dumps(each.get("Expression", "")) for each in alarm.get("Metrics", []))
        if filled and not alarm.get("DatapointsToAlarm", 99) < alarm["EvaluationPeriods"]:
            yield f"{name} needs every period, and FILL makes up the last one"


def error_lines_are_errors(given):
    for name, each in given.of_type("AWS::Logs::MetricFilter").items():
        for message in ("summary", "packet", "record"):
            if f'$.message != "{message}"' not in each["FilterPattern"]:
                yield f"{name} counts a {message}, which is written whatever the level"


def the_dashboard_shows_what_there_is(given):
    for name, dashboard in given.of_type("AWS::CloudWatch::Dashboard").items():
        body = dashboard["DashboardBody"]["Fn::Sub"]
        for widget in json.loads(body)["widgets"]:
            for metric in widget["properties"]["metrics"]:
                if metric[0] == "Rivulet" and f"`{metric[1]}`" not in README:
                    yield f"{name}: {metric[1]} is no metric of ours"
        for namespace in ("Rivulet", "AWS/Kinesis", "AWS/Lambda", "AWS/SQS", "AWS/Logs"):
            if f'["{namespace}"' not in body:
                yield f"{name} shows nothing of {namespace}"


def rules():
    """Every function that takes `given` alone, those that rules ask aside."""
    asked = (statements, watched)
    for each in list(globals().values()):
        code = getattr(each, "__code__", None)
        if code and code.co_varnames[: code.co_argcount] == ("given",) and each not in asked:
            yield each


def main():
    given = Given(template.PATH.read_text())
    broken = [f"{rule.__name__}: {said}" for rule in rules() for said in rule(given)]
    print("\n".join([*broken, f"template.yaml: {len(list(rules()))} rules, {len(broken)} times broken"]))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
