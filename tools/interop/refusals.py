"""The modelled exceptions: each that can be provoked here, decoded by boto3 to the class that it has for it."""

import base64
import contextlib
import hashlib
import json
import time
from datetime import datetime, timedelta, timezone

from botocore.exceptions import ClientError

from operations import MIDDLE_HASH, POLICY, arn, simulated
from report import Failed

SHARD = "shardId-000000000000"
POSITION = {"Type": "LATEST"}

# What each operation needs beside the stream that it is about.
REST = {
    "AddTagsToStream": {"Tags": {"a": "b"}},
    "DecreaseStreamRetentionPeriod": {"RetentionPeriodHours": 24},
    "IncreaseStreamRetentionPeriod": {"RetentionPeriodHours": 24},
    "DisableEnhancedMonitoring": {"ShardLevelMetrics": ["ALL"]},
    "EnableEnhancedMonitoring": {"ShardLevelMetrics": ["ALL"]},
    "GetShardIterator": {"ShardId": SHARD, "ShardIteratorType": "LATEST"},
    "MergeShards": {"ShardToMerge": SHARD, "AdjacentShardToMerge": "shardId-000000000001"},
    "PutRecord": {"Data": b"", "PartitionKey": "k"},
    "PutRecords": {"Records": [{"Data": b"", "PartitionKey": "k"}]},
    "PutResourcePolicy": {"Policy": POLICY},
    "RegisterStreamConsumer": {"ConsumerName": "c"},
    "DescribeStreamConsumer": {"ConsumerName": "c"},
    "DeregisterStreamConsumer": {"ConsumerName": "c"},
    "RemoveTagsFromStream": {"TagKeys": ["a"]},
    "SplitShard": {"ShardToSplit": SHARD, "NewStartingHashKey": MIDDLE_HASH},
    "StartStreamEncryption": {"EncryptionType": "KMS", "KeyId": "alias/a"},
    "StopStreamEncryption": {"EncryptionType": "KMS", "KeyId": "alias/a"},
    "SubscribeToShard": {"ShardId": SHARD, "StartingPosition": POSITION},
    "TagResource": {"Tags": {"a": "b"}},
    "UntagResource": {"TagKeys": ["a"]},
    "UpdateMaxRecordSize": {"MaxRecordSizeInKiB": 2048},
    "UpdateShardCount": {"TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"},
    "UpdateStreamMode": {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}},
}

# The modelled exceptions that nothing here can bring about: there are no keys, no policies that count, no dry runs that
# the local stream takes, and nothing of it fails by itself.
NOT_PROVOKED = {"AccessDeniedException", "DryRunOperationException", "InternalFailureException", "KMSAccessDeniedException", "KMSDisabledException",
                "KMSInvalidStateException", "KMSNotFoundException", "KMSOptInRequired", "KMSThrottlingException",
                "ThrottlingException"}


def refused(client, operation: str, wanted: str, words: str = "", **given):
    """Does the operation; it must be refused as `wanted`, with these words somewhere in the message."""
    try:
        client._make_api_call(operation, given)  # the method of that name, less the need to know its name
    except ClientError as error:
        found, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if found != wanted or words not in message:
            raise Failed(f"{operation} {shown(given)}: expected {wanted} with {words!r} in its message, "
                         f"found {found}: {message}") from None
        modelled = wanted in client.meta.service_model.shape_names
        if modelled and not isinstance(error, getattr(client.exceptions, wanted)):
            raise Failed(f"{operation}: boto3 decoded {wanted} to {type(error).__name__}") from None
    else:
        raise Failed(f"{operation} {shown(given)}: expected {wanted}, it was carried out")


def shown(given: dict) -> str:
    return str({name: value for name, value in given.items() if len(str(value)) < 300})


def nobody(report, lab):
    """Streams that are not there, for whatever is about a stream; and the other ways not to name one."""
    kinesis, model = lab.kinesis, lab.kinesis.meta.service_model
    operations = simulated(kinesis)
    with report.check("boto3", "ResourceNotFoundException, by name and ARN") as remarks:
        done = 0
        for operation in operations:
            members = model.operation_model(operation).input_shape.members
            rest = REST.get(operation, {})
            for member, value in (("StreamName", "nobody"), ("StreamARN", arn("nobody")), ("ResourceARN", arn("nobody")),
                                  ("ConsumerARN", arn("nobody") + "/consumer/c:1")):
                if member in members and operation != "CreateStream" and operation != "GetRecords":
                    beside = {} if member == "ConsumerARN" and operation != "SubscribeToShard" else rest
                    refused(kinesis, operation, "ResourceNotFoundException", **{member: value}, **beside)
                    done += 1
        remarks.append(f"{done} requests")
    with lab.stream() as name:
        named = [operation for operation in operations if operation not in ("CreateStream", "ListStreams") and
                 "StreamName" in model.operation_model(operation).input_shape.members]
        with report.check("boto3", "InvalidArgumentException, no stream or two") as remarks:
            for operation in named:
                rest = REST.get(operation, {})
                refused(kinesis, operation, "InvalidArgumentException", **rest)
                refused(kinesis, operation, "InvalidArgumentException", StreamName=name, StreamARN=arn("other"), **rest)
                wrong = arn(name).replace("us-east-1", "eu-west-1")
                refused(kinesis, operation, "InvalidArgumentException", StreamARN=wrong, **rest)
            remarks.append(f"{3 * len(named)} requests")
        with report.check("boto3", "StreamId and DryRun are refused by name"):
            for operation in operations:
                members = model.operation_model(operation).input_shape.members
                stream = {member: value for member, value in (("StreamName", name), ("StreamARN", arn(name)))
                          if member in members}
                for member, value in (("StreamId", "stream-0"), ("DryRun", True)):
                    if member in members:
                        refused(kinesis, operation, "ValidationException", member, **{member: value}, **stream,
                                **REST.get(operation, {}))


# A check each: the exception, by what in a few words, and the function that provokes it.
PROVOKED = []


def provoked(exception: str, by: str):
    def decorate(function):
        PROVOKED.append((exception, by, function))
        return function
    return decorate


@provoked("ResourceInUseException", "a name that is taken, an update under way")
def in_use(lab, no):
    with lab.stream() as name:
        no("CreateStream", StreamName=name, ShardCount=1)
    # One refusal behind each split: the stream is being updated for a moment only.
    for operation, given in (
            ("UpdateShardCount", {"TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
            ("MergeShards", {"ShardToMerge": "shardId-000000000001", "AdjacentShardToMerge": "shardId-000000000002"}),
            ("SplitShard", {"ShardToSplit": "shardId-000000000001", "NewStartingHashKey": "7"})):
        with lab.stream() as name:
            lab.kinesis.split_shard(StreamName=name, ShardToSplit=SHARD, NewStartingHashKey=MIDDLE_HASH)
            no(operation, StreamName=name, **given)


@provoked("ResourceInUseException", "consumers: a name, a stream, a shard in use")
def consumer_in_use(lab, no):
    with lab.stream() as name, lab.consumer(name) as consumer:
        no("RegisterStreamConsumer", StreamARN=arn(name), ConsumerName="reader")
        no("DeleteStream", StreamName=name)
        subscribed = lab.kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=SHARD, StartingPosition=POSITION)
        with contextlib.closing(subscribed["EventStream"]):
            # Two calls within a second may be one too many, too; only then is it another refusal.
            time.sleep(1.1)
            no("SubscribeToShard", ConsumerARN=consumer, ShardId=SHARD, StartingPosition=POSITION)


@provoked("LimitExceededException", "shards beyond the account, resizing too far")
def limits(lab, no):
    no("CreateStream", StreamName="too-large", ShardCount=1_000_000)
    with lab.stream(4) as name:
        no("UpdateShardCount", StreamName=name, TargetShardCount=9, ScalingType="UNIFORM_SCALING")
        no("UpdateShardCount", StreamName=name, TargetShardCount=1, ScalingType="UNIFORM_SCALING")


@provoked("LimitExceededException", "the 21st consumer, the sixth in CREATING")
def consumer_limits(lab, no):
    with lab.stream() as name:
        for n in range(5):
            lab.kinesis.register_stream_consumer(StreamARN=arn(name), ConsumerName=f"c{n}")
        no("RegisterStreamConsumer", StreamARN=arn(name), ConsumerName="sixth")
        for n in range(5):
            lab.until(lambda: lab.kinesis.describe_stream_consumer(StreamARN=arn(name), ConsumerName=f"c{n}")
                      ["ConsumerDescription"]["ConsumerStatus"], "ACTIVE")
        for n in range(5, 20):
            with lab.consumer(name, f"c{n}"):
                pass
        no("RegisterStreamConsumer", StreamARN=arn(name), ConsumerName="last")


@provoked("LimitExceededException", "tags: the 51st")
def tag_limits(lab, no):
    with lab.stream(1, Tags={str(n): "" for n in range(50)}) as name:
        no("AddTagsToStream", StreamName=name, Tags={"one more": ""})


@provoked("InvalidArgumentException", "what cannot be, of each kind")
def arguments(lab, no):
    ahead = datetime.now(timezone.utc) + timedelta(hours=2)
    with lab.stream(2) as name, lab.stream() as other:
        number = lab.kinesis.put_record(StreamName=other, PartitionKey="k", Data=b"")["SequenceNumber"]
        no("PutRecord", StreamName=name, PartitionKey="k", Data=b"", ExplicitHashKey="9" * 39)
        no("PutRecord", StreamName=name, PartitionKey="k", Data=bytes(1 << 20))
        no("PutRecords", StreamName=name, Records=[{"Data": bytes(1 << 20), "PartitionKey": "k"}])
        no("GetRecords", ShardIterator="AAAA")
        no("GetRecords", ShardIterator=lab.iterator(name), StreamARN=arn(other))
        no("GetShardIterator", StreamName=name, ShardId=SHARD, ShardIteratorType="AT_SEQUENCE_NUMBER")
        no("GetShardIterator", StreamName=name, ShardId=SHARD, ShardIteratorType="AT_TIMESTAMP", Timestamp=ahead)
        no("GetShardIterator", StreamName=name, ShardId="shardId-000000000001", StartingSequenceNumber=number,
           ShardIteratorType="AT_SEQUENCE_NUMBER")
        no("ListShards", NextToken="AAAA")
        no("ListShards", StreamName=name, ShardFilter={"Type": "AT_TIMESTAMP"})
        no("ListStreams", NextToken="AAAA")
        no("SplitShard", StreamName=name, ShardToSplit=SHARD, NewStartingHashKey="9" * 39)
        no("MergeShards", StreamName=name, ShardToMerge=SHARD, AdjacentShardToMerge=SHARD)
        no("IncreaseStreamRetentionPeriod", StreamName=name, RetentionPeriodHours=8761)
        no("DecreaseStreamRetentionPeriod", StreamName=name, RetentionPeriodHours=23)
        no("StartStreamEncryption", StreamName=name, EncryptionType="NONE", KeyId="alias/a")


@provoked("ResourceNotFoundException", "a shard that is not there")
def no_shard(lab, no):
    missing = "shardId-000000000009"
    with lab.stream() as name:
        no("GetShardIterator", StreamName=name, ShardId=missing, ShardIteratorType="LATEST")
        no("SplitShard", StreamName=name, ShardToSplit=missing, NewStartingHashKey="7")
        no("MergeShards", StreamName=name, ShardToMerge=SHARD, AdjacentShardToMerge=missing)
    no("GetRecords", ShardIterator=lab.made_earlier)


@provoked("ResourceNotFoundException", "a shard that is not there, to subscribe to")
def no_shard_to_subscribe_to(lab, no):
    with lab.stream() as name, lab.consumer(name) as consumer:
        no("SubscribeToShard", ConsumerARN=consumer, ShardId="shardId-000000000009", StartingPosition=POSITION)


@provoked("ValidationException", "members out of bounds, where boto3 lets them pass")
def validation(lab, no):
    with lab.stream() as name:
        no("PutRecords", StreamName=name, Records=[])
        no("PutRecords", StreamName=name, Records=[{"Data": b"", "PartitionKey": "k"}] * 501)
        no("PutRecord", StreamName=name, Data=b"", PartitionKey="")
        no("PutRecord", StreamName=name, Data=b"", PartitionKey="k" * 257)
        no("GetRecords", ShardIterator=lab.iterator(name), Limit=0)
        no("GetShardIterator", StreamName=name, ShardId=SHARD, ShardIteratorType="NOWHERE")
        no("DescribeStream", StreamName="no name")
        no("CreateStream", StreamName="x", ShardCount=0)
    with lab.stream(0, StreamModeDetails={"StreamMode": "ON_DEMAND"}) as name:
        no("UpdateShardCount", StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")


@provoked("ExpiredIteratorException", "an iterator of six minutes ago")
def expired_iterator(lab, no):
    with lab.stream() as name:
        no("GetRecords", ShardIterator=aged(lab.iterator(name)))


@provoked("ExpiredNextTokenException", "page tokens of six minutes ago")
def expired_token(lab, no):
    with lab.stream(2) as name, lab.stream():
        no("ListShards", NextToken=aged(lab.kinesis.list_shards(StreamName=name, MaxResults=1)["NextToken"]))
        no("ListStreams", NextToken=aged(lab.kinesis.list_streams(Limit=1)["NextToken"]))


@provoked("ExpiredNextTokenException", "one of consumers")
def expired_token_of_consumers(lab, no):
    with lab.stream() as name:
        for consumer in "ab":
            lab.kinesis.register_stream_consumer(StreamARN=arn(name), ConsumerName=consumer)
        page = lab.kinesis.list_stream_consumers(StreamARN=arn(name), MaxResults=1)
        no("ListStreamConsumers", StreamARN=arn(name), NextToken=aged(page["NextToken"]))



def throttled(report, lab):
    """Against a cloud that throttles: a sixth read in a second, and what a shard does not take of a PutRecords."""
    no = lambda operation, **given: refused(lab.kinesis, operation, "ProvisionedThroughputExceededException", **given)
    with report.check("boto3", "ProvisionedThroughputExceededException"), lab.stream() as name:
        iterator = lab.iterator(name)
        # The bucket of five may gain one while they are asked for.
        with contextlib.suppress(lab.kinesis.exceptions.ProvisionedThroughputExceededException):
            for _ in range(20):
                lab.kinesis.get_records(ShardIterator=iterator)
        no("GetRecords", ShardIterator=iterator)
        half = [{"Data": bytes(512 << 10), "PartitionKey": "k"} for _ in range(8)]
        answer = lab.kinesis.put_records(StreamName=name, Records=half)
        codes = [entry.get("ErrorCode") for entry in answer["Records"]]
        if answer["FailedRecordCount"] != sum(map(bool, codes)) or \
                set(codes) != {None, "ProvisionedThroughputExceededException"}:
            raise Failed(f"8 entries of 512 KiB: expected some to fail as throttled, found {codes}")


def aged(token: str) -> str:
    """A token of the local stream, six minutes older: JSON with the time of its issue, behind the start of its MD5."""
    sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    content = json.loads(sealed[6:])
    for kind in content.values():
        kind["issued_ms"] -= 360_000
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(hashlib.md5(text).digest()[:6] + text).decode().rstrip("=")
