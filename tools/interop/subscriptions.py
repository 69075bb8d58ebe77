"""SubscribeToShard through boto3, beyond the plain use of it: what comes while subscribed, and again, and instead."""

import contextlib
import threading
import time

from botocore.exceptions import EventStreamError

from operations import MIDDLE_HASH, Lab, arn
from refusals import SHARD, refused
from report import Failed, Report, expect

AGAIN = 5.2  # seconds after which a consumer may subscribe to a shard anew; the service has it at five


def run(report: Report, lab: Lab):
    for name, check in CHECKS.items():
        with report.check("boto3", "SubscribeToShard " + name), lab.stream() as stream, lab.consumer(stream) as consumer:
            check(lab, stream, consumer)
            lab.witness.expect_none()


def while_subscribed(lab, stream, consumer):
    put(lab, stream, range(3))
    with subscribed(lab, consumer, {"Type": "TRIM_HORIZON"}) as events:
        found = take(events, 3)
        # Each is put once the one before has come, so each comes by itself, at once.
        for n in range(3, 10):
            put(lab, stream, [n])
            found += take(events, 1)
        lab.kinesis.split_shard(StreamName=stream, ShardToSplit=SHARD, NewStartingHashKey=MIDDLE_HASH)
        rest = list(events)
    expect("each once, in order", found + [data for event in rest for data in data_of(event)], in_order(10))
    children = [child["ShardId"] for event in rest for child in event.get("ChildShards", [])]
    expect("children, at the end alone", [children, "ChildShards" in rest[-1]],
           [["shardId-000000000001", "shardId-000000000002"], True])
    put(lab, stream, [10])
    last = []
    for child in children:
        with subscribed(lab, consumer, {"Type": "TRIM_HORIZON"}, child) as events:
            last += data_of(next(events))
    expect("of the children", last, in_order(11)[10:])


def from_a_position(lab, stream, consumer):
    numbers = put(lab, stream, range(4))
    with lab.consumer(stream, "b") as b, lab.consumer(stream, "c") as c, lab.consumer(stream, "d") as d:
        for reader, position, wanted in [
            (consumer, {"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": numbers[2]}, [2, 3]),
            (b, {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": numbers[2]}, [3]),
            (c, {"Type": "AT_TIMESTAMP", "Timestamp": time.time() - 3600}, [0, 1, 2, 3]),
        ]:
            with subscribed(lab, reader, position) as events:
                expect(position["Type"], take(events, len(wanted)), [bytes([n]) for n in wanted])
        with subscribed(lab, d, {"Type": "LATEST"}) as events:
            put(lab, stream, [4])
            expect("LATEST", take(events, 1), [b"\x04"])


def from_its_continuation(lab, stream, consumer):
    position, found = {"Type": "TRIM_HORIZON"}, []
    put(lab, stream, range(5))
    for n in (5, 6):
        with subscribed(lab, consumer, position) as events:
            wanted = len(in_order(n)) - len(found)
            while wanted > 0:
                event = next(events)
                found += data_of(event)
                wanted -= len(event["Records"])
            position = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": event["ContinuationSequenceNumber"]}
        put(lab, stream, [n])  # between two subscriptions
        time.sleep(AGAIN)
    with subscribed(lab, consumer, position) as events:
        found += take(events, 1)
    expect("each once, in order", found, in_order(7))


def in_place_of_another(lab, stream, consumer):
    start = {"Type": "LATEST"}
    with subscribed(lab, consumer, start) as first:
        time.sleep(1.1)
        refused(lab.kinesis, "SubscribeToShard", "ResourceInUseException", ConsumerARN=consumer, ShardId=SHARD,
                StartingPosition=start)
        time.sleep(AGAIN)
        ended = threading.Thread(target=until_its_end, args=(first,), daemon=True)
        ended.start()
        with subscribed(lab, consumer, start) as second:
            ended.join(10)
            expect("the first has ended", ended.is_alive(), False)
            put(lab, stream, [1])
            expect("the second goes on", take(second, 1), [b"\x01"])


def until_the_stream_is_deleted(lab, stream, consumer):
    with subscribed(lab, consumer, {"Type": "LATEST"}) as events:
        lab.kinesis.delete_stream(StreamName=stream, EnforceConsumerDeletion=True)
        try:
            for _ in events:
                pass
        except EventStreamError as error:
            expect("the end", error.response["Error"]["Code"], "ResourceNotFoundException")
        else:
            raise Failed("expected a stream of events to end by ResourceNotFoundException, it ended without a word")


CHECKS = {"with records put meanwhile": while_subscribed, "from each position": from_a_position,
          "again from its continuation": from_its_continuation, "in place of another": in_place_of_another,
          "to a stream that is deleted": until_the_stream_is_deleted}


@contextlib.contextmanager
def subscribed(lab, consumer: str, position: dict, shard: str = SHARD):
    """The events of a subscription, each of them looked at; closed in the end."""
    answer = lab.kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=position)
    with contextlib.closing(answer["EventStream"]) as stream:
        yield (event["SubscribeToShardEvent"] for event in lab.witness.watched("SubscribeToShard", stream))


def put(lab, stream: str, numbers) -> list[str]:
    """A record for each number; their sequence numbers."""
    return [lab.kinesis.put_record(StreamARN=arn(stream), PartitionKey="k", Data=bytes([n]))["SequenceNumber"]
            for n in numbers]


def take(events, count: int) -> list[bytes]:
    """The data of so many records; an event may hold none, or several."""
    found = []
    while len(found) < count:
        found += data_of(next(events))
    return found


def until_its_end(events):
    with contextlib.suppress(EventStreamError):  # it may say why
        for _ in events:
            pass


def data_of(event: dict) -> list[bytes]:
    return [record["Data"] for record in event["Records"]]


def in_order(count: int) -> list[bytes]:
    return [bytes([n]) for n in range(count)]
