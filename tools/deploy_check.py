"""Deploys to ministack, an AWS of one process on this machine, and takes everything back: `make deploy-check`.

What runs is what a person would run: the targets of the Makefile, then the README's commands for cargo-lambda, word
by word. In between, events are sent, and what comes out is counted: every packet given is in the stream or in the
queue, every record of the stream is in the consumer's log, each once.

What the producer calls has to be in its role. Else ministack is no judge of what AWS refuses: it reads the stream for
the mapping without a look at the consumer's role, and knows the good days of a mapping only.
Nothing here reaches AWS: credentials are made up, profiles are hidden, and every endpoint is on 127.0.0.1.
"""

import base64
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ministack_server import DIRECT, REGION, Failed, Server, end_group, end_with_parent, within
from samcli.yamlhelper import yaml_dump, yaml_parse

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".tools/venv/bin"
WHOLE = 1800  # seconds for all of it; a first build takes most of them
BUILD = 1500
STEP = 120

# The conditions under which the template makes more, and the parameters that turn them on, with others that change
# what is there already. The UDP listener is made by its vendor's service, which nothing here stands for, and an open
# Function URL would hide whether the signature counts; `make lint-template` checks both.
ON = {"HasHttpApi", "HasFunctionUrl"}
OFF = {"HasListener", "HasOpenFunctionUrl"}
EVERYTHING = ["HttpApi=true", "FunctionUrl=true", "ShardCount=2", "ProducerConcurrency=5", "Ordering=strict",
              f"AlarmTopicArn=arn:aws:sns:{REGION}:000000000000:alarms"]

# What the events must become: an entry that is a JSON object becomes a record, any other a message of the queue.
SYNCHRONOUS = ["batch", "bad-entries", "http-v2"]
ASYNCHRONOUS = ["one-packet"]

# What could be left of a deployment: the name of it, and the command of the AWS CLI that lists it.
KINDS = {
    "stacks": "cloudformation describe-stacks --query Stacks[].StackName",
    "streams": "kinesis list-streams --query StreamNames",
    "functions": "lambda list-functions --query Functions[].FunctionName",
    "mappings": "lambda list-event-source-mappings --query EventSourceMappings[].UUID",
    "queues": "sqs list-queues --query QueueUrls",
    "roles": "iam list-roles --query Roles[].RoleName",
    "log groups": "logs describe-log-groups --query logGroups[].logGroupName",
    "alarms": "cloudwatch describe-alarms --query MetricAlarms[].AlarmName",
    "dashboards": "cloudwatch list-dashboards --query DashboardEntries[].DashboardName",
    "HTTP APIs": "apigatewayv2 get-apis --query Items[].Name",
    "buckets": "s3api list-buckets --query Buckets[].Name",
}


def main() -> int:
    if platform.system() != "Linux":
        raise Failed("deploy-check starts the functions as they are deployed, so it needs Linux")
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    signal.alarm(WHOLE)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="deploy-check-") as folder, Server(Path(folder)) as server:
        ok("ministack", f"{server.version} at {server.url} after {server.seconds:.1f} s")
        cloud = Cloud(Path(folder), server.url)
        by_sam(cloud)
        server.expect_loopback()
        by_cargo_lambda(cloud)
        server.expect_loopback()
    ok("stopped", f"ministack ended, its folder is gone; {time.monotonic() - start:.0f} s in all")
    return 0


def by_sam(cloud):
    for line in cloud.make("build", seconds=BUILD).splitlines():
        if re.match(r"\S+\.zip: ", line):
            ok("make build", line)
    template = as_ministack_takes_it(cloud.folder)
    options = ["--no-progressbar", "--template-file", str(template), "--config-file", str(ROOT / "samconfig.toml")]
    cloud.make("deploy", "ARGS=" + " ".join(options), seconds=BUILD)
    outputs = cloud.outputs("rivulet")
    expect_resources(cloud, "make deploy", template, OFF | ON)

    cloud.nobody_lost(outputs["ProducerFunction"], outputs["StreamName"], outputs["UndeliveredQueueUrl"],
                      lambda: cloud.make("logs"))
    refused = cloud.invoke(outputs["ProducerFunction"], "producer/refused-sqs")
    expect("the error of refused-sqs.json", refused.get("errorType"), "UnexpectedEvent")
    ok("refused", "an event meant for another function fails the invocation: UnexpectedEvent")
    for event in ("producer/hex", "consumer/batch"):
        said = cloud.make("invoke-remote", f"EVENT=events/{event}.json")
        answer = json.loads(said.strip().splitlines()[-1])
        expect(f"the answer to {event}.json", list(answer.values()), [[]])
        ok("make invoke-remote", f"events/{event}.json: {json.dumps(answer)}")

    cloud.run([VENV / "sam", "deploy", *options, "--parameter-overrides", *EVERYTHING])
    expect_resources(cloud, "update to " + " ".join(EVERYTHING), template, OFF)
    ok("left out", "the UDP listener: its resource is made by its vendor's service, not by AWS")
    expect_ways_in(cloud)

    said = cloud.make("destroy", "ARGS=--no-prompts")
    bucket = outputs["FailureBucketName"]
    if f"aws s3 rb --force s3://{bucket}" not in said:
        raise Failed(f"make destroy should say how to be rid of the bucket {bucket}; it said: {said}")
    cloud.run([VENV / "aws", "--endpoint-url", cloud.url, "s3", "rb", "--force", f"s3://{bucket}"])
    cloud.forget_bucket_of_sam()
    cloud.expect_nothing("make destroy", f"the failure bucket ({bucket}) stayed, as the template says, and was removed")


def as_ministack_takes_it(folder: Path) -> Path:
    """The built template, less the alarms over several metrics, which ministack refuses; and with a permission that it
    asks for and AWS does not have: SendMessageBatch needs sqs:SendMessage there ("Amazon SQS API permissions")."""
    build = ROOT / ".aws-sam/build"
    template = yaml_parse((build / "template.yaml").read_text())
    resources = template["Resources"]
    alarms = [name for name, resource in resources.items()
              if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]]
    for name in alarms:
        del resources[name]
    for resource in resources.values():
        for statement in statements_of(resource):
            if statement["Action"] == "sqs:SendMessage":
                statement["Action"] = ["sqs:SendMessage", "sqs:SendMessageBatch"]
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = str(build / resource["Properties"]["CodeUri"])
    if alarms:
        ok("left out", f"{', '.join(alarms)}: ministack knows no alarms that compute with metrics")
    ok("added", "sqs:SendMessageBatch to the producer's role: ministack wants it, AWS knows no such permission")
    changed = folder / "template.yaml"
    changed.write_text(yaml_dump(template))
    return changed


def statements_of(resource: dict) -> list[dict]:
    return [statement for policy in resource.get("Properties", {}).get("Policies", [])
            for statement in policy["PolicyDocument"]["Statement"]]


def expect_resources(cloud, step: str, template: Path, off: set[str]):
    """All that the template has is in the stack, but what stands under a condition that is off."""
    states = {name: (kind, state) for name, kind, state in
              cloud.aws("cloudformation describe-stack-resources --stack-name rivulet "
                        "--query StackResources[].[LogicalResourceId,ResourceType,ResourceStatus]")}
    unfinished = {name for name, (_, state) in states.items() if state not in ("CREATE_COMPLETE", "UPDATE_COMPLETE")}
    expect(f"unfinished after {step}", unfinished, set())
    resources = yaml_parse(template.read_text())["Resources"]
    expect(f"resources after {step}", sorted(states.keys() & resources.keys()),
           sorted(name for name, resource in resources.items() if resource.get("Condition") not in off))
    kinds = Counter(kind.removeprefix("AWS::").replace("::", " ") for kind, _ in states.values())
    ok(step, f"{len(states)} resources: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))


def expect_ways_in(cloud):
    """HTTP API and Function URL take a signed request and refuse one that is not. ministack serves both by path."""
    outputs = cloud.outputs("rivulet")
    for output, service, path in (("HttpApiUrl", "execute-api", "execute-api/{}/$default/"),
                                  ("ProducerUrl", "lambda", "lambda-url/{}/")):
        name = re.match(r"https?://([a-z0-9]+)\.", outputs[output])[1]
        url = f"{cloud.url}/_aws/{path.format(name)}"
        expect(f"the status of {output} without a signature", cloud.post(url, b"hello")[0], 403)
        status, answer = cloud.post(url, b"hello", signed_for=service)
        expect(f"the status of {output} with a signature", status, 200)
        expect(f"acknowledged by {output}", ["SequenceNumber" in record for record in answer["Records"]], [True])
        ok(output, "403 without a signature, 200 with one, and the packet is in the stream")


def by_cargo_lambda(cloud):
    create, try_it, delete = commands_of_readme("### With cargo-lambda")
    cloud.bash(create, seconds=BUILD)
    ok("cargo lambda deploy", f"{len(create.splitlines())} lines of the README: stream, roles, both functions, mapping")
    said = cloud.bash(try_it, seconds=STEP)
    expect("Replies in the README's example", '{"Replies": []}' in said or '{"Replies":[]}' in said, True)
    logs = [VENV / "sam", "logs", "--cw-log-group", "/aws/lambda/packets-consumer", "--output", "json"]
    cloud.nobody_lost("packets-producer", "packets", None, lambda: cloud.run(logs), also=("one-packet",))
    cloud.bash(delete)
    cloud.expect_nothing("cargo lambda's deletion", f"{len(delete.splitlines())} lines of the README")


def commands_of_readme(heading: str) -> list[str]:
    """The section's blocks of commands."""
    section = (ROOT / "README.md").read_text().split(f"\n{heading}\n")
    if len(section) != 2:
        raise Failed(f"expected README.md to have the heading `{heading}` once, found it {len(section) - 1} times")
    section = re.split(r"^##", section[1], flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    if len(blocks) != 3:
        raise Failed(f"expected three blocks of commands under `{heading}` (make, try, delete), found {len(blocks)}")
    return blocks


class Cloud:
    """ministack, as seen by commands that are run one after the other."""

    def __init__(self, folder: Path, url: str):
        self.folder, self.url = folder, url
        self.expected_to_stay = set()
        # Nothing of the caller's AWS, and nothing of the make that started this.
        hidden = re.compile("AWS_.*|SAM_.*|MAKE.*|MFLAGS|STACK|EVENT|ARGS")
        inherited = {name: value for name, value in os.environ.items() if not hidden.fullmatch(name)}
        self.environment = inherited | {
            "PATH": f"{VENV}:{os.environ['PATH']}", "TMPDIR": str(folder), "SAM_CLI_TELEMETRY": "0",
            "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
            "AWS_ENDPOINT_URL": url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(folder / "no-config"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        }

    def run(self, words: list, seconds: int = STEP) -> str:
        """What the command said on standard output. It has its own group, so that nothing it started outlives it."""
        command = subprocess.Popen([str(word) for word in words], cwd=ROOT, env=self.environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True, preexec_fn=end_with_parent)
        try:
            said, complained = command.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(map(str, words))[:200]}: not done after {seconds} s") from None
        finally:
            end_group(command)
        if command.returncode:
            last = "\n".join((said + complained).strip().splitlines()[-15:])
            raise Failed(f"{' '.join(map(str, words))[:200]}: status {command.returncode}\n{last}")
        return said

    def make(self, *words: str, seconds: int = STEP) -> str:
        return self.run(["make", "--no-print-directory", *words], seconds)

    def bash(self, commands: str, seconds: int = STEP) -> str:
        return self.run(["bash", "-euo", "pipefail", "-c", commands], seconds)

    def aws(self, words: str, *more: str):
        """The AWS CLI's answer. It is told the endpoint: for SQS, its version 1 does not look at the variable."""
        said = self.run([VENV / "aws", "--endpoint-url", self.url, "--output", "json", *words.split(), *more])
        return json.loads(said) if said.strip() else None

    def outputs(self, stack: str) -> dict[str, str]:
        outputs = self.aws(f"cloudformation describe-stacks --stack-name {stack} --query Stacks[0].Outputs")
        return {output["OutputKey"]: output["OutputValue"] for output in outputs}

    def post(self, url: str, body: bytes, signed_for: str | None = None) -> tuple[int, dict]:
        """Status and answer of a POST, signed with this cloud's credentials for a service, or not."""
        request = AWSRequest("POST", url, data=body)
        if signed_for:
            SigV4Auth(Credentials("test", "test"), signed_for, REGION).add_auth(request)
        try:
            with DIRECT.open(urllib.request.Request(url, body, dict(request.headers.items())), timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, {}

    def invoke(self, function: str, event: str, how: str = "RequestResponse"):
        answer = self.folder / "answer.json"
        answer.write_text("")
        result = self.aws(f"lambda invoke --function-name {function} --invocation-type {how} "
                          f"--payload file://events/{event}.json {answer}")
        expect(f"the status of invoking {function}, {how}", result["StatusCode"], 202 if how == "Event" else 200)
        expect("FunctionError", "FunctionError" in result, "/refused-" in event)
        return None if how == "Event" else json.loads(answer.read_text())

    def nobody_lost(self, function: str, stream: str, queue: str | None, logs, also: tuple[str, ...] = ()):
        """Sends events and counts: given = in the stream + in the queue, and all of the stream is in the log, once.
        `also` are events that somebody else sent."""
        entries = self.send(function, [event for event in SYNCHRONOUS if queue or event != "bad-entries"])
        entries += [entry for event in also for entry in entries_of(event)]
        packets = [entry for entry in entries if isinstance(entry, dict)]
        records = self.expect_in_stream(stream, packets)
        if queue:
            self.expect_in_queue(queue, [entry for entry in entries if not isinstance(entry, dict)])

        numbers = sorted(record["SequenceNumber"] for record in records)
        lines = within(60, lambda: consumed(logs()), lambda found: len(found) >= len(numbers))
        expect("sequence numbers in the consumer's log", sorted(line["sequenceNumber"] for line in lines), numbers)
        ok("sam logs", f"{len(lines)} lines of the consumer, one for each record; the oldest was "
           f"{max(line['age'] for line in lines)} ms old")

    def send(self, function: str, synchronous: list[str]) -> list:
        """Invokes the producer, with and without waiting for its answer, and gives back the entries of the events."""
        start = time.monotonic()
        for event in synchronous:
            answer = self.invoke(function, f"producer/{event}")
            refused = [entry for entry in entries_of(event) if not isinstance(entry, dict)]
            expect(f"undelivered of {event}.json", len(answer.get("Undelivered", [])), len(refused))
            expect(f"the HTTP status of {event}.json", answer.get("statusCode"), 200 if event == "http-v2" else None)
        for event in ASYNCHRONOUS:
            self.invoke(function, f"producer/{event}", "Event")
        entries = [entry for event in [*synchronous, *ASYNCHRONOUS] for entry in entries_of(event)]
        ok("aws lambda invoke", f"{', '.join(synchronous)} with an answer, {', '.join(ASYNCHRONOUS)} without; "
           f"{len(entries)} entries in {time.monotonic() - start:.1f} s")
        return entries

    def expect_in_stream(self, stream: str, packets: list[dict]) -> list[dict]:
        records = within(30, lambda: self.records(stream), lambda found: len(found) >= len(packets))
        expect("packets in the stream", sorted_json(chosen_by_sender(record["packet"]) for record in records),
               sorted_json(packets))
        given, found = {}, {}  # of each key, the tags of its packets in order
        for packet in entries_of("batch"):
            key = base64.b64decode(packet["Data"])[:4].hex().upper()  # as PARTITION_KEY_EXPRESSION=[0:4] says
            given.setdefault(key, []).append(packet["Tag"])
        for record in records:
            if record["packet"].get("Tag") in sum(given.values(), []):
                found.setdefault(record["PartitionKey"], []).append(record["packet"]["Tag"])
        expect("the keys of batch.json and their packets in order", found, given)
        ok("aws kinesis get-records", f"{len(records)} records in {len({r['shard'] for r in records})} shards, "
           f"{len({r['PartitionKey'] for r in records})} keys; each packet once, batch.json's in order")
        return records

    def expect_in_queue(self, queue: str, entries: list):
        messages = self.messages(queue, len(entries))
        expect("entries in the queue", sorted_json(message["Packet"] for message in messages), sorted_json(entries))
        ok("aws sqs receive-message", f"{len(messages)} messages: the entries that are no packets, "
           f"{messages[0]['Reason']}")

    def records(self, stream: str) -> list[dict]:
        found = []
        for shard in self.aws(f"kinesis list-shards --stream-name {stream} --query Shards[].ShardId"):
            place = self.aws(f"kinesis get-shard-iterator --stream-name {stream} --shard-id {shard} "
                             "--shard-iterator-type TRIM_HORIZON --query ShardIterator")
            for record in self.aws("kinesis get-records --query Records --shard-iterator", place):
                found.append(record | {"shard": shard, "packet": json.loads(base64.b64decode(record["Data"]))})
        return found

    def messages(self, queue: str, number: int) -> list[dict]:
        found = []
        while len(found) < number:
            received = self.aws("sqs receive-message --max-number-of-messages 10 --wait-time-seconds 2 "
                                f"--queue-url {queue}")
            if not received:
                break
            found += [json.loads(message["Body"]) for message in received["Messages"]]
        return found

    def forget_bucket_of_sam(self):
        """sam's own bucket for zips, and the stack that holds it, serve every deployment of an account and stay."""
        sam = "aws-sam-cli-managed-default"
        self.expected_to_stay = {sam, *self.outputs(sam).values()}

    def expect_nothing(self, step: str, remark: str):
        left = {}
        for kind, words in KINDS.items():
            names = set(self.aws(words) or []) - self.expected_to_stay
            if names:
                left[kind] = sorted(names)
        expect(f"what is left after {step}", left, {})
        ok(step, f"nothing is left of {', '.join(KINDS)}; {remark}")


def entries_of(event: str) -> list:
    """The entries that the event brings; an HTTP request's is what the producer makes of its body."""
    content = json.loads((ROOT / f"events/producer/{event}.json").read_text())
    if "Messages" in content:
        return content["Messages"]
    return [{"Data": base64.b64encode(content["body"].encode()).decode()}]


def chosen_by_sender(packet: dict) -> dict:
    """Of an HTTP request's packet, its payload; the rest is the producer's account of the request."""
    return {"Data": packet["Data"]} if packet.get("Local", {}).get("Protocol") == "http" else packet


def consumed(log: str) -> list[dict]:
    """The consumer's lines about records, from lines as they were written or in sam's wrapping."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    lines = [json.loads(line["message"]) if line.get("message", "").startswith("{") else line for line in lines]
    return [line for line in lines if line.get("message") in ("packet", "record", "undecodable")]


def sorted_json(values) -> list[str]:
    return sorted(json.dumps(value, sort_keys=True) for value in values)


def expect(what: str, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: expected {wanted!r}, found {found!r}"[:2000])


def ok(step: str, figures: str):
    print(f"ok      {step}: {figures}", flush=True)


def interrupted(number, _frame):
    raise Failed(f"not done after {WHOLE} s" if number == signal.SIGALRM else f"ended by {signal.Signals(number).name}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        print(f"FAILED  {failure}", file=sys.stderr)
        sys.exit(1)
