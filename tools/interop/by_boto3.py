"""boto3 against the local stream: each operation of its model, each exception, each member of every answer."""

import boto3
from botocore.config import Config

import refusals
import subscriptions
from cloud import REGION
from operations import EXERCISES, Lab, arn, simulated
from refusals import NOT_PROVOKED, PROVOKED, refused
from report import Failed, Report, expect
from shapes import Witness, every_path

# Members of answers that the local stream never gives, for what they tell of is not simulated.
NEVER_GIVEN = {
    "DescribeLimits": {"ChannelCount", "ChannelCountLimit"},
    "DescribeStreamSummary": {f"StreamDescriptionSummary.{name}" for name in (
        "ChannelCount", "QueueCount", "RecordDistributionStrategy", "WarmThroughput", "WarmThroughput.CurrentMiBps",
        "WarmThroughput.TargetMiBps")},
}

# Members of requests that it does not take, for they ask for what is not simulated. They are refused by name.
NEVER_TAKEN = {
    "CreateStream": {"RecordDistributionStrategy": "AUTO", "WarmThroughputMiBps": 100},
    "UpdateStreamMode": {"WarmThroughputMiBps": 100},
}


def client(service: str, endpoint: str, **options):
    """A client with made-up credentials and no second tries, which would hide what was answered first."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, **options)
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)
    return session.client(service, endpoint_url=endpoint, config=config)


def run(report: Report, cloud, throttling):
    witness = Witness()
    lab = Lab(witness.watch(client("kinesis", cloud.kinesis)), witness)
    every_operation(report, lab)
    subscriptions.run(report, lab)
    # What boto3 would not let out, the stream must refuse itself.
    free = Lab(witness.watch(client("kinesis", cloud.kinesis, parameter_validation=False)), witness)
    every_exception(report, free)
    refusals.throttled(report, Lab(witness.watch(client("kinesis", throttling.kinesis)), witness))
    with report.check("boto3", "answers that refuse") as remarks:
        witness.expect_none()
        remarks.append(f"{sum(map(len, witness.errors.values()))} kinds as modelled")
    every_member(report, free)


def every_operation(report: Report, lab: Lab):
    kinesis, witness = lab.kinesis, lab.witness
    model = kinesis.meta.service_model
    methods = {operation: name for name, operation in kinesis.meta.method_to_api_mapping.items()}
    expect("functions for what the model does not have", set(EXERCISES) - set(methods.values()), set())
    before = 0
    for operation in simulated(kinesis):
        with report.check("boto3", operation) as remarks:
            EXERCISES[methods[operation]](lab)
            witness.expect_none()
            remarks.append(f"{witness.answers - before} answers as modelled")
        before = witness.answers
        witness.complaints.clear()
    left = sorted(set(model.operation_names) - set(simulated(kinesis)))
    free = client("kinesis", kinesis.meta.endpoint_url, parameter_validation=False)
    with report.check("boto3", f"{len(left)} others are refused by name") as remarks:
        for operation in left:
            refused(free, operation, "UnknownOperationException", f'"{operation}" is not implemented')
        remarks.append(" ".join(left))


def every_exception(report: Report, lab: Lab):
    kinesis = lab.kinesis
    with lab.stream() as name:
        lab.made_earlier = lab.iterator(name)
    refusals.nobody(report, lab)
    for exception, by, provoke in PROVOKED:
        with report.check("boto3", exception) as remarks:
            provoke(lab, lambda operation, **given: refused(kinesis, operation, exception, **given))
            remarks.append(by)
    with report.check("boto3", "no modelled exception is left out") as remarks:
        model = kinesis.meta.service_model
        modelled = {shape.name for operation in simulated(kinesis)
                    for shape in model.operation_model(operation).error_shapes}
        known = {exception for exception, *_ in PROVOKED} | {"ProvisionedThroughputExceededException"}
        expect("modelled and neither provoked nor known not to be", modelled - known - NOT_PROVOKED, set())
        remarks.append("not provoked: " + " ".join(sorted(NOT_PROVOKED & modelled)))


def every_member(report: Report, lab: Lab):
    """Of every operation that is simulated, each member has been given and has come, but for those that are named."""
    model, witness = lab.kinesis.meta.service_model, lab.witness
    for what, seen, shape_of, known in (
            ("answers", witness.came, lambda operation: operation.output_shape, NEVER_GIVEN),
            ("requests", witness.given, lambda operation: operation.input_shape, NEVER_TAKEN)):
        with report.check("boto3", f"each member of {what}") as remarks:
            missing, count = [], 0
            for operation in simulated(lab.kinesis):
                left_out = set(known.get(operation, ())) | {"DryRun"}
                every = {path for path in every_path(shape_of(model.operation_model(operation)))
                         if not path.endswith("StreamId")}
                expect(f"{operation}: never in {what}, and yet there", left_out & seen[operation], set())
                missing += [f"{operation}.{path}" for path in sorted(every - seen[operation] - left_out)]
                count += len(every & seen[operation])
            if missing:
                raise Failed(f"never seen in {what}: " + ", ".join(missing))
            remarks.append(f"{count} seen; not simulated: StreamId, DryRun, " +
                           ", ".join(f"{name}.{path}" for name, paths in known.items() for path in sorted(paths)))
    with report.check("boto3", "members that are refused by name"), lab.stream() as name:
        stream = {"CreateStream": {"StreamName": "never"}, "UpdateStreamMode": {"StreamARN": arn(name)}}
        for operation, members in NEVER_TAKEN.items():
            for member, value in members.items():
                refused(lab.kinesis, operation, "ValidationException", member, **{member: value}, **stream[operation],
                        **refusals.REST.get(operation, {}))

