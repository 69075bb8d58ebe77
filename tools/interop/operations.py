"""What boto3 does with each operation of the model: a function for each that is simulated, by boto3's name of it.

An operation that has no function here must be refused by name; `by_boto3` sees to it that there is no third kind.
"""

import contextlib
import itertools
import time
from datetime import datetime, timedelta, timezone

from cloud import ACCOUNT, REGION
from report import Failed, expect

EXERCISES = {}
HIGHEST_HASH = str(2**128 - 1)
MIDDLE_HASH = str(2**127)


def exercise(function):
    EXERCISES[function.__name__] = function
    return function


NUMBERS = itertools.count(1)


class Lab:
    """A client, and streams of its own for whoever needs one."""

    def __init__(self, kinesis, witness):
        self.kinesis, self.witness = kinesis, witness

    @contextlib.contextmanager
    def stream(self, shards: int = 1, **more):
        name = f"interop-{next(NUMBERS)}"
        self.kinesis.create_stream(StreamName=name, **({"ShardCount": shards} if shards else {}), **more)
        try:
            self.active(name)
            yield name
        finally:
            with contextlib.suppress(self.kinesis.exceptions.ResourceNotFoundException):
                self.kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)

    @contextlib.contextmanager
    def consumer(self, stream: str, name: str = "reader"):
        made = self.kinesis.register_stream_consumer(StreamARN=arn(stream), ConsumerName=name)["Consumer"]
        self.until(lambda: self.kinesis.describe_stream_consumer(ConsumerARN=made["ConsumerARN"])
                   ["ConsumerDescription"]["ConsumerStatus"], "ACTIVE")
        yield made["ConsumerARN"]

    def active(self, name: str):
        self.until(lambda: self.summary(name)["StreamStatus"], "ACTIVE")

    def until(self, look, wanted):
        end = time.monotonic() + 10
        while (found := look()) != wanted:
            if time.monotonic() > end:
                raise Failed(f"expected {wanted!r} within 10 s, found {found!r}")
            time.sleep(0.02)

    def summary(self, name: str) -> dict:
        return self.kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]

    def shards(self, name: str, **more) -> list[dict]:
        return self.kinesis.list_shards(StreamName=name, **more)["Shards"]

    def iterator(self, name: str, shard: str = "shardId-000000000000", kind: str = "TRIM_HORIZON", **more) -> str:
        return self.kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)[
            "ShardIterator"]

    def data(self, iterator: str) -> list[bytes]:
        return [record["Data"] for record in self.kinesis.get_records(ShardIterator=iterator)["Records"]]


def simulated(client) -> list[str]:
    """The operations that are to work."""
    methods = client.meta.method_to_api_mapping
    return sorted({methods[name] for name in EXERCISES})


def arn(stream: str) -> str:
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}"


@exercise
def create_stream(lab):
    with lab.stream(2, Tags={"a": "b"}, MaxRecordSizeInKiB=2048, StreamModeDetails={"StreamMode": "PROVISIONED"}) as name:
        about = lab.summary(name)
        expect("shards, record size, mode",
               [about["OpenShardCount"], about["MaxRecordSizeInKiB"], about["StreamModeDetails"]["StreamMode"]],
               [2, 2048, "PROVISIONED"])
    with lab.stream(0, StreamModeDetails={"StreamMode": "ON_DEMAND"}) as name:
        expect("shards of an on-demand stream", len(lab.shards(name)), 4)


@exercise
def delete_stream(lab):
    for by in ("StreamName", "StreamARN"):
        with lab.stream() as name:
            lab.kinesis.delete_stream(**{by: name if by == "StreamName" else arn(name)}, EnforceConsumerDeletion=False)
            lab.kinesis.get_waiter("stream_not_exists").wait(StreamName=name)


@exercise
def list_streams(lab):
    with lab.stream() as one, lab.stream() as other:
        pages = list(lab.kinesis.get_paginator("list_streams").paginate(Limit=1))
        names = [name for page in pages for name in page["StreamNames"]]
        summaries = [about["StreamName"] for page in pages for about in page["StreamSummaries"]]
        expect("each stream once, in order", names, sorted({one, other, *names}))
        expect("summaries", summaries, names)
        behind = lab.kinesis.list_streams(ExclusiveStartStreamName=one)["StreamNames"]
        expect("behind the first", other in behind and one not in behind, True)
        token = lab.kinesis.list_streams(Limit=1)["NextToken"]
        expect("by token", lab.kinesis.list_streams(NextToken=token)["StreamNames"], names[1:])


@exercise
def describe_stream(lab):
    with lab.stream(3) as name:
        lab.kinesis.get_waiter("stream_exists").wait(StreamName=name)
        pages = lab.kinesis.get_paginator("describe_stream").paginate(StreamName=name, PaginationConfig={"PageSize": 2})
        shards = [shard["ShardId"] for page in pages for shard in page["StreamDescription"]["Shards"]]
        expect("shards", shards, [f"shardId-{n:012}" for n in range(3)])
        one = lab.kinesis.describe_stream(StreamARN=arn(name), Limit=1, ExclusiveStartShardId=shards[0])
        about = one["StreamDescription"]
        expect("a page", [about["Shards"][0]["ShardId"], about["HasMoreShards"]], [shards[1], True])
        lab.kinesis.merge_shards(StreamName=name, ShardToMerge=shards[0], AdjacentShardToMerge=shards[1])
        merged = lab.kinesis.describe_stream(StreamName=name)["StreamDescription"]["Shards"][3]
        expect("parents", [merged["ParentShardId"], merged["AdjacentParentShardId"]], shards[:2])
        age = datetime.now(timezone.utc) - about["StreamCreationTimestamp"]
        expect("made just now", timedelta(seconds=-2) < age < timedelta(minutes=5), True)


@exercise
def describe_stream_summary(lab):
    with lab.stream(2) as name:
        about = lab.kinesis.describe_stream_summary(StreamName=name, StreamARN=arn(name))["StreamDescriptionSummary"]
        expect("ARN, shards, retention, consumers",
               [about["StreamARN"], about["OpenShardCount"], about["RetentionPeriodHours"], about["ConsumerCount"]],
               [arn(name), 2, 24, 0])


@exercise
def describe_limits(lab):
    before = lab.kinesis.describe_limits()
    with lab.stream(3), lab.stream(0, StreamModeDetails={"StreamMode": "ON_DEMAND"}):
        after = lab.kinesis.describe_limits()
        more = [after[name] - before[name] for name in ("OpenShardCount", "OnDemandStreamCount")]
        expect("more open shards and on-demand streams", more, [3, 1])


@exercise
def put_record(lab):
    with lab.stream(2) as name:
        first = lab.kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"\x00\xff", ExplicitHashKey="0")
        second = lab.kinesis.put_record(StreamARN=arn(name), PartitionKey="k", Data=b"", ExplicitHashKey=HIGHEST_HASH,
                                        SequenceNumberForOrdering=first["SequenceNumber"])
        expect("shards", [first["ShardId"][-1], second["ShardId"][-1]], ["0", "1"])
        expect("data", lab.data(lab.iterator(name)), [b"\x00\xff"])


@exercise
def put_records(lab):
    with lab.stream() as name:
        given = [{"Data": bytes([n % 256]) * n, "PartitionKey": f"\N{GRINNING FACE}{n}", "ExplicitHashKey": str(n)}
                 for n in range(500)]
        answer = lab.kinesis.put_records(StreamName=name, StreamARN=arn(name), Records=given)
        expect("failed", answer["FailedRecordCount"], 0)
        read = lab.kinesis.get_records(ShardIterator=lab.iterator(name))["Records"]
        expect("given = read, in order", [(record["Data"], record["PartitionKey"]) for record in read],
               [(record["Data"], record["PartitionKey"]) for record in given])
        expect("sequence numbers", [record["SequenceNumber"] for record in read],
               [record["SequenceNumber"] for record in answer["Records"]])


@exercise
def get_shard_iterator(lab):
    with lab.stream() as name:
        put = [lab.kinesis.put_record(StreamName=name, PartitionKey="k", Data=bytes([n])) for n in range(2)]
        second = put[1]["SequenceNumber"]
        at = lab.kinesis.get_records(ShardIterator=lab.iterator(name))["Records"][1]["ApproximateArrivalTimestamp"]
        for kind, more, wanted in [
            ("TRIM_HORIZON", {}, [b"\x00", b"\x01"]), ("LATEST", {}, []),
            ("AT_SEQUENCE_NUMBER", {"StartingSequenceNumber": second}, [b"\x01"]),
            ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": second}, []),
            ("AT_TIMESTAMP", {"Timestamp": at - timedelta(hours=1), "StreamARN": arn(name)}, [b"\x00", b"\x01"]),
        ]:
            expect(kind, lab.data(lab.iterator(name, kind=kind, **more)), wanted)


@exercise
def get_records(lab):
    with lab.stream() as name:
        lab.kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
        lab.active(name)
        for n in range(3):
            lab.kinesis.put_record(StreamName=name, PartitionKey="k", Data=bytes([n]))
        lab.kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=MIDDLE_HASH)
        found, iterator = [], lab.iterator(name)
        while iterator:
            answer = lab.kinesis.get_records(ShardIterator=iterator, Limit=2, StreamARN=arn(name))
            found += [(record["Data"], record["EncryptionType"]) for record in answer["Records"]]
            iterator = answer.get("NextShardIterator")
        expect("records", found, [(bytes([n]), "KMS") for n in range(3)])
        children = [(child["ShardId"], child["ParentShards"]) for child in answer["ChildShards"]]
        expect("children", children, [(f"shardId-{n:012}", ["shardId-000000000000"]) for n in (1, 2)])
        expect("behind", answer["MillisBehindLatest"], 0)


@exercise
def list_shards(lab):
    with lab.stream(2) as name:
        lab.kinesis.merge_shards(StreamName=name, ShardToMerge="shardId-000000000000",
                                 AdjacentShardToMerge="shardId-000000000001")
        # boto3's paginator repeats the stream's name beside the token, which the service refuses.
        page = lab.kinesis.list_shards(StreamName=name, MaxResults=1)
        found = page["Shards"]
        while "NextToken" in page:
            page = lab.kinesis.list_shards(NextToken=page["NextToken"], MaxResults=1)
            found += page["Shards"]
        expect("shards, page by page", [shard["ShardId"][-1] for shard in found], list("012"))
        whole = lab.kinesis.get_paginator("list_shards").paginate(StreamName=name)
        expect("shards, by paginator", [shard for page in whole for shard in page["Shards"]], found)
        now = datetime.now(timezone.utc)
        for given, wanted in [
            ({"Type": "AT_LATEST"}, "2"), ({"Type": "AT_TRIM_HORIZON"}, "01"), ({"Type": "FROM_TRIM_HORIZON"}, "012"),
            ({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000000"}, "12"),
            ({"Type": "AT_TIMESTAMP", "Timestamp": now - timedelta(hours=2)}, "01"),
            ({"Type": "FROM_TIMESTAMP", "Timestamp": now - timedelta(hours=2)}, "012"),
        ]:
            found = "".join(shard["ShardId"][-1] for shard in lab.shards(name, ShardFilter=given))
            expect(given["Type"], found, wanted)
        made = lab.summary(name)["StreamCreationTimestamp"]
        one = lab.kinesis.list_shards(StreamARN=arn(name), StreamCreationTimestamp=made, MaxResults=1,
                                      ExclusiveStartShardId="shardId-000000000001")["Shards"]
        expect("of that stream", one[0]["ParentShardId"] < one[0]["AdjacentParentShardId"], True)


@exercise
def split_shard(lab):
    with lab.stream() as name:
        lab.kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=MIDDLE_HASH)
        lab.active(name)
        lab.kinesis.split_shard(StreamARN=arn(name), ShardToSplit="shardId-000000000001", NewStartingHashKey="7")
        shards = lab.shards(name)
        expect("parents", [shard.get("ParentShardId", "-")[-1] for shard in shards], list("-0011"))
        ended = ["EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in shards]
        expect("ended", ended, [True, True, False, False, False])


@exercise
def merge_shards(lab):
    with lab.stream(3) as name:
        lab.kinesis.merge_shards(StreamName=name, ShardToMerge="shardId-000000000000",
                                 AdjacentShardToMerge="shardId-000000000001")
        lab.active(name)
        lab.kinesis.merge_shards(StreamARN=arn(name), ShardToMerge="shardId-000000000003",
                                 AdjacentShardToMerge="shardId-000000000002")
        hashes = lab.shards(name, ShardFilter={"Type": "AT_LATEST"})[0]["HashKeyRange"]
        expect("the whole", hashes, {"StartingHashKey": "0", "EndingHashKey": HIGHEST_HASH})


@exercise
def update_shard_count(lab):
    with lab.stream(2) as name:
        answer = lab.kinesis.update_shard_count(StreamName=name, StreamARN=arn(name), TargetShardCount=4,
                                                ScalingType="UNIFORM_SCALING")
        expect("counts", [answer["CurrentShardCount"], answer["TargetShardCount"]], [2, 4])
        lab.active(name)
        expect("open", lab.summary(name)["OpenShardCount"], 4)


@exercise
def increase_stream_retention_period(lab):
    with lab.stream() as name:
        lab.kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
        lab.active(name)
        lab.kinesis.increase_stream_retention_period(StreamARN=arn(name), RetentionPeriodHours=8760)
        expect("hours", lab.summary(name)["RetentionPeriodHours"], 8760)


@exercise
def decrease_stream_retention_period(lab):
    with lab.stream() as name:
        lab.kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=49)
        lab.active(name)
        lab.kinesis.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=48)
        lab.active(name)
        lab.kinesis.decrease_stream_retention_period(StreamARN=arn(name), RetentionPeriodHours=24)
        expect("hours", lab.summary(name)["RetentionPeriodHours"], 24)


@exercise
def start_stream_encryption(lab):
    with lab.stream() as name:
        lab.kinesis.start_stream_encryption(StreamName=name, StreamARN=arn(name), EncryptionType="KMS", KeyId="alias/a")
        lab.active(name)
        for about in (lab.summary(name), lab.kinesis.describe_stream(StreamName=name)["StreamDescription"]):
            expect("encryption", [about["EncryptionType"], about["KeyId"]], ["KMS", "alias/a"])
        put = lab.kinesis.put_records(StreamName=name, Records=[{"Data": b"a", "PartitionKey": "k"}])
        expect("PutRecords", put["EncryptionType"], "KMS")
        expect("PutRecord", lab.kinesis.put_record(StreamName=name, Data=b"a", PartitionKey="k")["EncryptionType"], "KMS")


@exercise
def stop_stream_encryption(lab):
    with lab.stream() as name:
        for _ in range(2):
            lab.kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/a")
            lab.active(name)
        lab.kinesis.stop_stream_encryption(StreamName=name, StreamARN=arn(name), EncryptionType="KMS", KeyId="alias/a")
        lab.active(name)
        expect("encryption", lab.summary(name)["EncryptionType"], "NONE")


@exercise
def add_tags_to_stream(lab):
    with lab.stream() as name:
        lab.kinesis.add_tags_to_stream(StreamName=name, StreamARN=arn(name), Tags={"a": "1", "b": ""})
        tags = lab.kinesis.list_tags_for_stream(StreamName=name)["Tags"]
        expect("tags", tags, [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])


@exercise
def remove_tags_from_stream(lab):
    with lab.stream(1, Tags={"a": "1", "b": "2"}) as name:
        lab.kinesis.remove_tags_from_stream(StreamName=name, StreamARN=arn(name), TagKeys=["a", "c"])
        expect("tags", lab.kinesis.list_tags_for_stream(StreamName=name)["Tags"], [{"Key": "b", "Value": "2"}])


@exercise
def list_tags_for_stream(lab):
    with lab.stream(1, Tags={"a": "1", "b": "2", "c": "3"}) as name:
        page = lab.kinesis.list_tags_for_stream(StreamName=name, StreamARN=arn(name), ExclusiveStartTagKey="a", Limit=1)
        expect("a page", [page["Tags"], page["HasMoreTags"]], [[{"Key": "b", "Value": "2"}], True])


@exercise
def register_stream_consumer(lab):
    with lab.stream() as name:
        made = lab.kinesis.register_stream_consumer(StreamARN=arn(name), ConsumerName="one", Tags={"a": "b"})["Consumer"]
        expect("name, status", [made["ConsumerName"], made["ConsumerStatus"]], ["one", "CREATING"])
        expect("tags", lab.kinesis.list_tags_for_resource(ResourceARN=made["ConsumerARN"])["Tags"],
               [{"Key": "a", "Value": "b"}])
        expect("counted", lab.summary(name)["ConsumerCount"], 1)


@exercise
def describe_stream_consumer(lab):
    with lab.stream() as name, lab.consumer(name) as consumer:
        for by in ({"ConsumerARN": consumer}, {"StreamARN": arn(name), "ConsumerName": "reader"}):
            about = lab.kinesis.describe_stream_consumer(**by)["ConsumerDescription"]
            expect("description", [about["ConsumerARN"], about["ConsumerStatus"], about["StreamARN"]],
                   [consumer, "ACTIVE", arn(name)])


@exercise
def list_stream_consumers(lab):
    with lab.stream() as name:
        for consumer in "abc":
            lab.kinesis.register_stream_consumer(StreamARN=arn(name), ConsumerName=consumer)
        pages = lab.kinesis.get_paginator("list_stream_consumers").paginate(
            StreamARN=arn(name), PaginationConfig={"PageSize": 2})
        expect("pages", [[consumer["ConsumerName"] for consumer in page["Consumers"]] for page in pages],
               [["a", "b"], ["c"]])
        made = lab.summary(name)["StreamCreationTimestamp"]
        lab.kinesis.list_stream_consumers(StreamARN=arn(name), StreamCreationTimestamp=made)
        token = lab.kinesis.list_stream_consumers(StreamARN=arn(name), MaxResults=1)["NextToken"]
        rest = lab.kinesis.list_stream_consumers(StreamARN=arn(name), NextToken=token)["Consumers"]
        expect("by token", [consumer["ConsumerName"] for consumer in rest], ["b", "c"])


@exercise
def deregister_stream_consumer(lab):
    with lab.stream() as name, lab.consumer(name, "a") as consumer, lab.consumer(name, "b"):
        lab.kinesis.deregister_stream_consumer(ConsumerARN=consumer)
        lab.kinesis.deregister_stream_consumer(StreamARN=arn(name), ConsumerName="b")
        lab.until(lambda: lab.kinesis.list_stream_consumers(StreamARN=arn(name))["Consumers"], [])


@exercise
def update_stream_mode(lab):
    with lab.stream(2) as name:
        for mode in ("ON_DEMAND", "PROVISIONED"):
            lab.kinesis.update_stream_mode(StreamARN=arn(name), StreamModeDetails={"StreamMode": mode})
            lab.active(name)
            expect("mode", lab.summary(name)["StreamModeDetails"], {"StreamMode": mode})


@exercise
def update_max_record_size(lab):
    with lab.stream() as name:
        lab.kinesis.update_max_record_size(StreamARN=arn(name), MaxRecordSizeInKiB=3072)
        lab.active(name)
        lab.kinesis.put_record(StreamName=name, PartitionKey="k", Data=bytes(3 << 20)[:-1])
        expect("size", lab.summary(name)["MaxRecordSizeInKiB"], 3072)


@exercise
def enable_enhanced_monitoring(lab):
    with lab.stream() as name:
        answer = lab.kinesis.enable_enhanced_monitoring(StreamName=name, StreamARN=arn(name),
                                                        ShardLevelMetrics=["IncomingBytes"])
        expect("metrics", [answer["CurrentShardLevelMetrics"], answer["DesiredShardLevelMetrics"]],
               [[], ["IncomingBytes"]])
        lab.active(name)
        expect("shown", lab.summary(name)["EnhancedMonitoring"], [{"ShardLevelMetrics": ["IncomingBytes"]}])


@exercise
def disable_enhanced_monitoring(lab):
    with lab.stream() as name:
        lab.kinesis.enable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["ALL"])
        lab.active(name)
        answer = lab.kinesis.disable_enhanced_monitoring(StreamName=name, StreamARN=arn(name),
                                                         ShardLevelMetrics=["IncomingBytes"])
        expect("one less", len(answer["CurrentShardLevelMetrics"]) - len(answer["DesiredShardLevelMetrics"]), 1)


@exercise
def tag_resource(lab):
    with lab.stream() as name, lab.consumer(name) as consumer:
        for resource in (arn(name), consumer):
            lab.kinesis.tag_resource(ResourceARN=resource, Tags={"a": "1"})
            expect("tags", lab.kinesis.list_tags_for_resource(ResourceARN=resource)["Tags"],
                   [{"Key": "a", "Value": "1"}])


@exercise
def untag_resource(lab):
    with lab.stream(1, Tags={"a": "1", "b": "2"}) as name:
        lab.kinesis.untag_resource(ResourceARN=arn(name), TagKeys=["a"])
        expect("tags", lab.kinesis.list_tags_for_resource(ResourceARN=arn(name))["Tags"], [{"Key": "b", "Value": "2"}])


@exercise
def list_tags_for_resource(lab):
    with lab.stream(1, Tags={"a": "1"}) as name:
        expect("tags", lab.kinesis.list_tags_for_resource(ResourceARN=arn(name))["Tags"], [{"Key": "a", "Value": "1"}])


@exercise
def put_resource_policy(lab):
    with lab.stream() as name, lab.consumer(name) as consumer:
        for resource in (arn(name), consumer):
            lab.kinesis.put_resource_policy(ResourceARN=resource, Policy=POLICY)
            expect("policy", lab.kinesis.get_resource_policy(ResourceARN=resource)["Policy"], POLICY)


@exercise
def get_resource_policy(lab):
    with lab.stream() as name:
        lab.kinesis.put_resource_policy(ResourceARN=arn(name), Policy=POLICY)
        expect("policy", lab.kinesis.get_resource_policy(ResourceARN=arn(name))["Policy"], POLICY)


@exercise
def delete_resource_policy(lab):
    with lab.stream() as name:
        lab.kinesis.put_resource_policy(ResourceARN=arn(name), Policy=POLICY)
        lab.kinesis.delete_resource_policy(ResourceARN=arn(name))
        try:
            found = lab.kinesis.get_resource_policy(ResourceARN=arn(name))
        except lab.kinesis.exceptions.ResourceNotFoundException:
            return
        expect("policy", found["Policy"], "")


POLICY = '{"Version":"2012-10-17","Statement":[]}'


@exercise
def subscribe_to_shard(lab):
    with lab.stream() as name, lab.consumer(name) as consumer:
        lab.kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis")
        lab.active(name)
        lab.kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"a")
        lab.kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=MIDDLE_HASH)
        answer = lab.kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId="shardId-000000000000",
                                                StartingPosition={"Type": "TRIM_HORIZON"})
        events = [event["SubscribeToShardEvent"] for event in lab.witness.watched("SubscribeToShard", answer["EventStream"])]
        expect("records", [record["Data"] for event in events for record in event["Records"]], [b"a"])
        expect("children", [child["ShardId"][-1] for child in events[-1]["ChildShards"]], ["1", "2"])
