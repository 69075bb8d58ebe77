"""The AWS CLI: a command line for each operation of the stream, of the queue, and of the functions' API.

Each is a process of its own, as it is for whoever types it; several run at once where they do not concern each other.
"""

import base64
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from operations import EXERCISES, HIGHEST_HASH, MIDDLE_HASH, POLICY, arn
from report import Failed, Report, expect

AWS = Path(sys.executable).parent / "aws"
SHARD = "shardId-000000000000"
LONGEST = 60  # seconds for one command
AT_ONCE = 4

# Operations that the CLI has no command for: it leaves out what answers with a stream of events.
NO_COMMAND = {"SubscribeToShard"}


class Aws:
    """The command `aws` with an endpoint and a service; remembers the commands that did what they were to do."""

    def __init__(self, endpoint: str, service: str):
        self.endpoint, self.service, self.done = endpoint, service, set()  # operations, in lower case without hyphens

    def __call__(self, command: str, *more: str):
        """The answer, read from JSON; none if there is nothing to read. `more` are words that may hold spaces."""
        ended = self.ended(command, *more)
        if ended.returncode:
            raise Failed(f"aws {self.service} {command}: status {ended.returncode}: {ended.stderr.strip()}")
        self.done.add(operation_of(command))
        return json.loads(ended.stdout) if ended.stdout.strip() else None

    def refused(self, command: str, wanted: str):
        ended = self.ended(command)
        if ended.returncode == 0 or f"({wanted})" not in ended.stderr:
            raise Failed(f"aws {self.service} {command}: expected {wanted}, found status {ended.returncode}: "
                         f"{(ended.stdout + ended.stderr).strip()}")

    def ended(self, command: str, *more: str):
        words = [AWS, "--endpoint-url", self.endpoint, "--output", "json", self.service, *command.split(), *more]
        return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LONGEST)

    def until(self, wanted, command: str):
        for _ in range(10):
            if (found := self(command)) == wanted:
                return
        raise Failed(f"aws {self.service} {command}: expected {wanted!r}, found {found!r}")


def run(report: Report, cloud, _throttling):
    kinesis = Aws(cloud.kinesis, "kinesis")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        under_way = [(name, pool.submit(lines, kinesis)) for name, lines in SCRIPTS.items()]
        under_way.append(("sqs: send, receive, delete, attributes", pool.submit(queue, Aws(cloud.queue, "sqs"), cloud.queue)))
        under_way.append(("lambda: invoke", pool.submit(invoke, Aws(cloud.lambda_, "lambda"))))
        under_way.append(("lambda: invoke with its log", pool.submit(tail, Aws(cloud.lambda_, "lambda"))))
        under_way.append(("lambda: event source mappings", pool.submit(mapping, Aws(cloud.lambda_, "lambda"))))
        for name, script in under_way:
            with report.check("aws", name) as remarks:
                script.result()
    with report.check("aws", "no operation is left out") as remarks:
        operations = {name.replace("_", "") for name in EXERCISES} - lowered(NO_COMMAND)
        expect("operations without a command line", operations - kinesis.done, set())
        remarks.append(f"{len(operations)} commands; {', '.join(NO_COMMAND)} has none in the CLI")


def operation_of(command: str) -> str:
    return command.split()[0].replace("-", "")


def lowered(operations: set[str]) -> set[str]:
    return {operation.lower() for operation in operations}


def streams(aws):
    aws("create-stream --stream-name cli-1 --shard-count 2 --tags a=b --max-record-size-in-ki-b 2048")
    aws("wait stream-exists --stream-name cli-1")
    about = aws("describe-stream --stream-name cli-1")["StreamDescription"]
    expect("shards", len(about["Shards"]), 2)
    about = aws("describe-stream-summary --stream-name cli-1")["StreamDescriptionSummary"]
    expect("ARN and size", [about["StreamARN"], about["MaxRecordSizeInKiB"]], [arn("cli-1"), 2048])
    expect("cli-1 is listed", "cli-1" in aws("list-streams")["StreamNames"], True)
    expect("open shards", aws("describe-limits --query OpenShardCount") >= 2, True)
    aws("delete-stream --stream-name cli-1 --enforce-consumer-deletion")
    aws("wait stream-not-exists --stream-name cli-1")
    aws.refused("describe-stream --stream-name cli-1", "ResourceNotFoundException")


def records(aws):
    aws("create-stream --stream-name cli-2 --shard-count 1")
    put = aws("put-record --stream-name cli-2 --partition-key k --data one --explicit-hash-key", HIGHEST_HASH)
    entries = json.dumps([{"Data": "two", "PartitionKey": "k"}, {"Data": "three", "PartitionKey": "k"}])
    failed = aws("put-records --stream-name cli-2 --query FailedRecordCount --records", entries)
    expect("failed", failed, 0)
    place = aws(f"get-shard-iterator --stream-name cli-2 --shard-id {SHARD} --query ShardIterator "
                f"--shard-iterator-type AT_SEQUENCE_NUMBER --starting-sequence-number {put['SequenceNumber']}")
    found = aws("get-records --query Records[].Data --shard-iterator", place)
    expect("data", [base64.b64decode(data) for data in found], [b"one", b"two", b"three"])
    aws.refused("get-records --shard-iterator AAAA", "InvalidArgumentException")


def shards(aws):
    aws("create-stream --stream-name cli-3 --shard-count 1")
    aws(f"split-shard --stream-name cli-3 --shard-to-split {SHARD} --new-starting-hash-key {MIDDLE_HASH}")
    aws("merge-shards --stream-name cli-3 --shard-to-merge shardId-000000000001 "
        "--adjacent-shard-to-merge shardId-000000000002")
    counts = aws("update-shard-count --stream-name cli-3 --target-shard-count 2 --scaling-type UNIFORM_SCALING")
    expect("counts", [counts["CurrentShardCount"], counts["TargetShardCount"]], [1, 2])
    listed = aws("list-shards --stream-name cli-3 --query Shards[].ShardId --shard-filter Type=AT_LATEST")
    expect("open shards", len(listed), 2)


def settings(aws):
    aws("create-stream --stream-name cli-4 --shard-count 1")
    aws("increase-stream-retention-period --stream-name cli-4 --retention-period-hours 48")
    aws("decrease-stream-retention-period --stream-name cli-4 --retention-period-hours 24")
    aws("start-stream-encryption --stream-name cli-4 --encryption-type KMS --key-id alias/aws/kinesis")
    aws("stop-stream-encryption --stream-name cli-4 --encryption-type KMS --key-id alias/aws/kinesis")


def modes(aws):
    aws("create-stream --stream-name cli-7 --shard-count 1")
    aws("update-max-record-size --max-record-size-in-ki-b 2048 --stream-arn", arn("cli-7"))
    aws("wait stream-exists --stream-name cli-7")
    aws("update-stream-mode --stream-mode-details StreamMode=ON_DEMAND --stream-arn", arn("cli-7"))


def monitoring(aws):
    aws("create-stream --stream-name cli-8 --shard-count 1")
    enabled = aws("enable-enhanced-monitoring --stream-name cli-8 --shard-level-metrics IncomingBytes")
    expect("metrics", enabled["DesiredShardLevelMetrics"], ["IncomingBytes"])
    aws("wait stream-exists --stream-name cli-8")
    aws("disable-enhanced-monitoring --stream-name cli-8 --shard-level-metrics ALL")


def tags(aws):
    aws("create-stream --stream-name cli-5 --shard-count 1")
    aws("add-tags-to-stream --stream-name cli-5 --tags a=1,b=2")
    aws("remove-tags-from-stream --stream-name cli-5 --tag-keys a")
    expect("tags", aws("list-tags-for-stream --stream-name cli-5")["Tags"], [{"Key": "b", "Value": "2"}])


def tags_by_arn(aws):
    aws("create-stream --stream-name cli-9 --shard-count 1 --tags b=2")
    aws("tag-resource --tags c=3 --resource-arn", arn("cli-9"))
    aws("untag-resource --tag-keys b --resource-arn", arn("cli-9"))
    expect("tags", aws("list-tags-for-resource --resource-arn", arn("cli-9"))["Tags"], [{"Key": "c", "Value": "3"}])


def policies(aws):
    aws("create-stream --stream-name cli-10 --shard-count 1")
    aws("put-resource-policy --resource-arn", arn("cli-10"), "--policy", POLICY)
    expect("policy", aws("get-resource-policy --query Policy --resource-arn", arn("cli-10")), POLICY)
    aws("delete-resource-policy --resource-arn", arn("cli-10"))


def consumers(aws):
    aws("create-stream --stream-name cli-6 --shard-count 1")
    made = aws("register-stream-consumer --query Consumer.ConsumerARN --consumer-name reader --stream-arn", arn("cli-6"))
    aws.until("ACTIVE", "describe-stream-consumer --query ConsumerDescription.ConsumerStatus --consumer-arn " + made)
    listed = aws("list-stream-consumers --query Consumers[].ConsumerARN --stream-arn", arn("cli-6"))
    expect("consumers", listed, [made])
    aws("deregister-stream-consumer --consumer-arn", made)


# Command lines on a stream of their own.
SCRIPTS = {
    "streams": streams, "records": records, "shards": shards, "settings": settings, "tags": tags,
    "tags, by ARN": tags_by_arn, "policies": policies, "monitoring": monitoring, "modes": modes, "consumers": consumers,
}


def queue(aws, url: str):
    about = "get-queue-attributes --attribute-names ApproximateNumberOfMessages --query Attributes.* --queue-url " + url
    expect("the queue's URL", aws("get-queue-url --query QueueUrl --queue-name " + url.rpartition("/")[2]), url)
    sent = aws(f"send-message --queue-url {url} --message-body", "one message")
    expect("messages", aws(about), ["1"])
    [found] = aws(f"receive-message --queue-url {url}")["Messages"]
    expect("the message", [found["MessageId"], found["Body"]], [sent["MessageId"], "one message"])
    aws(f"delete-message --queue-url {url} --receipt-handle", found["ReceiptHandle"])
    sent = aws(f"send-message-batch --queue-url {url} --entries Id=a,MessageBody=1 Id=b,MessageBody=2")
    expect("a batch", [entry["Id"] for entry in sent["Successful"]], ["a", "b"])
    found = aws(f"receive-message --queue-url {url} --max-number-of-messages 10")["Messages"]
    entries = [{"Id": message["Body"], "ReceiptHandle": message["ReceiptHandle"]} for message in found]
    gone = aws(f"delete-message-batch --queue-url {url} --entries", json.dumps(entries))
    expect("deleted", sorted(entry["Id"] for entry in gone["Successful"]), ["1", "2"])
    expect("messages", aws(about), ["0"])
    aws.refused(f"send-message --queue-url {url}x --message-body a", "AWS.SimpleQueueService.NonExistentQueue")


PACKET = json.dumps({"Messages": [{"Tag": "a", "Data": base64.b64encode(b"hello").decode()}]})


def invoke(aws):
    with tempfile.NamedTemporaryFile() as answer:
        result = aws("invoke --function-name producer --payload", PACKET, answer.name)
        expect("the result", result, {"StatusCode": 200, "ExecutedVersion": "$LATEST"})
        expect("the answer", json.load(answer), {"Replies": []})
        result = aws("invoke --function-name producer --invocation-type Event --payload", PACKET, answer.name)
        expect("the result, asynchronous", result, {"StatusCode": 202})
    with tempfile.NamedTemporaryFile() as answer:
        result = aws("invoke --function-name producer --payload {\"unknown\":1}", answer.name)
        expect("the error", [result["FunctionError"], json.load(answer)["errorType"]], ["Unhandled", "UnexpectedEvent"])
        aws.refused(f"invoke --function-name nobody {answer.name}", "ResourceNotFoundException")


def tail(aws):
    with tempfile.NamedTemporaryFile() as answer:
        result = aws("invoke --function-name producer --log-type Tail --payload", PACKET, answer.name)
        log = base64.b64decode(result["LogResult"])
        if b'"message":"summary"' not in log or len(log) > 4096:
            raise Failed(f"expected the invocation's log, at most 4 KiB, with its summary, found {log!r}")


def mapping(aws):
    [found] = aws("list-event-source-mappings --function-name consumer")["EventSourceMappings"]
    expect("state and source", [found["State"], found["EventSourceArn"]], ["Enabled", arn("packets")])
    about = "get-event-source-mapping --uuid " + found["UUID"]
    for wanted, flag in (("Disabled", "--no-enabled"), ("Enabled", "--enabled")):
        changed = aws(f"update-event-source-mapping --uuid {found['UUID']} {flag}")
        expect("State", changed["State"] in (wanted, wanted.replace("ed", "ing")), True)
        aws.until(wanted, about + " --query State")
