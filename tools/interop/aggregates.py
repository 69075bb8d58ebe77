"""Aggregated records: AWS's own Python module and the crate `kpl`, each reading what the other writes."""

import base64
import hashlib
import json
import random
import subprocess
import urllib.request
from collections import defaultdict

from aws_kinesis_agg import deaggregator, messages_pb2
from aws_kinesis_agg.aggregator import RecordAggregator
from google.protobuf.message import DecodeError

from by_boto3 import client
from cloud import BINARIES, PATIENCE, Cloud
from operations import Lab
from report import Failed, expect

LONGEST = 300  # seconds that the example may take
SETS = 4_000      # of random user records
MUTATED = 20_000  # damaged messages
MAGIC = b"\xf3\x89\x9a\xc2"

# What the crate refuses and Google's decoder, in a group that it skips, does not look at. The format has no such field
# (https://protobuf.dev/programming-guides/proto2/#assigning).
STRICTER = "a field number must be 1 to 536870911, found 0"

# Pieces of messages: entries of the tables, records with and without what they need, unknown fields, groups, bad tags.
PIECES = [bytes.fromhex(piece) for piece in (
    "0a026b30 0a016b 120137 12023432 1a0508001a0141 1a07080010001a0141 22030a0174 0800 1000 2b 2c 1b 1c 2807 1a00 1a0141 "
    "1a0a08001a014122030a0174 1a0a08001a01412b28012c 8000 ffffffff0f").split()]


def run(report, _cloud, _throttling):
    dice = random.Random(7)
    sets = [user_records(dice) for _ in range(SETS)]
    by_python = [aggregated(records) for records in sets]
    by_rust = [bytes.fromhex(line) for line in codec(["E " + shown(records) for records in sets])]
    count = sum(map(len, sets))
    with report.check("aws-kinesis-agg", "the same bytes from the same records") as remarks:
        expect_each("bytes", by_rust, by_python, sets)
        remarks.append(f"{SETS} sets of {count} user records")
    with report.check("aws-kinesis-agg", "the crate reads what it writes") as remarks:
        expect_each("user records", codec(["D " + record.hex() for record in by_python]),
                    [("A " + shown(records)).rstrip() for records in sets], sets)
        remarks.append(f"{count} user records")
    with report.check("aws-kinesis-agg", "it reads what the crate writes") as remarks:
        expect_each("user records", [deaggregated(record) for record in by_rust], sets, sets)
        remarks.append(f"{count} user records")
    with report.check("protobuf", "the crate reads what it reads, no more") as remarks:
        remarks.append(damaged(dice, [record[4:-16] for record in by_python if len(record) < 600]))
    with report.check("aws-kinesis-agg", "it reads what the producer writes") as remarks:
        remarks.append(by_producer(dice))


def user_records(dice) -> list[tuple]:
    hashed = dice.random() < 0.5
    return [(key(dice), hash_key(dice) if hashed else None, data(dice)) for _ in range(dice.choice([1, 2, 3, 10, 60]))]


def key(dice) -> str:
    """Few keys that come again and again, and now and then any text of 1 to 256 characters."""
    if dice.random() < 0.6:
        return dice.choice("abcd")
    planes = [(0x20, 0x7f), (0xa0, 0xd7ff), (0x10000, 0x10ffff)]
    return "".join(chr(dice.randrange(*dice.choice(planes))) for _ in range(dice.randrange(1, 257)))


def hash_key(dice) -> int:
    return dice.choice([0, 1, 1 << 127, (1 << 128) - 1, dice.getrandbits(128), dice.getrandbits(dice.randrange(1, 128))])


def data(dice) -> bytes:
    """Of many sizes, those among them where the length of a length changes."""
    return dice.randbytes(dice.choice([0, 1, 5, 126, 127, 128, 129, dice.randrange(400),
                                       dice.choice([16383, 16384, 16385, 20])]))


def aggregated(records: list[tuple]) -> bytes:
    aggregator = RecordAggregator(1 << 20)
    for partition_key, explicit, content in records:
        full = aggregator.add_user_record(partition_key, content, None if explicit is None else str(explicit))
        expect("an aggregate before the last record", full, None)
    return aggregator.clear_and_get().get_contents()[2]


def deaggregated(record: bytes) -> list[tuple]:
    event = {"eventSource": "aws:kinesis", "kinesis": {
        "kinesisSchemaVersion": "1.0", "sequenceNumber": "1", "approximateArrivalTimestamp": 1, "partitionKey": "outer",
        "data": base64.b64encode(record).decode()}}
    found = [user["kinesis"] for user in deaggregator.deaggregate_records([event])]
    return [(user["partitionKey"], None if user["explicitHashKey"] is None else int(user["explicitHashKey"]),
             base64.b64decode(user["data"])) for user in found]


def codec(lines: list[str]) -> list[str]:
    """The crate's example, a line for each given."""
    ended = subprocess.run([BINARIES / "examples/codec"], input="\n".join(lines) + "\n", capture_output=True, text=True,
                           timeout=LONGEST)
    if ended.returncode:
        raise Failed(f"the example codec of crate kpl ended with {ended.returncode}: {ended.stderr}")
    expect("lines of the example codec", len(found := ended.stdout.splitlines()), len(lines))
    return found


def shown(records: list[tuple]) -> str:
    return " ".join(f"{partition_key.encode().hex()},{'-' if explicit is None else explicit},{content.hex()}"
                    for partition_key, explicit, content in records)


def expect_each(what: str, found: list, wanted: list, sets: list):
    wrong = [i for i in range(len(sets)) if found[i] != wanted[i]]
    if wrong:
        i = min(wrong, key=lambda i: len(shown(sets[i])))
        raise Failed(f"{what} differ in {len(wrong)} of {len(sets)} sets; the shortest: {shown(sets[i])[:600]}\n"
                     f"expected {wanted[i]!r:.600}\nfound    {found[i]!r:.600}")


def damaged(dice, messages: list[bytes]) -> str:
    """Messages put together and altered at random: the crate takes what Google's decoder takes and the format's own
    rules allow, and gives out the same."""
    given = [altered(dice, messages) for _ in range(MUTATED)]
    read = 0
    for message, found in zip(given, codec(["D " + framed(message).hex() for message in given])):
        records = judged(message)
        wanted = "X" if records is None else ("A " + shown(records)).rstrip()
        same = found.startswith("X ") if wanted == "X" else found == wanted
        if not same and not found.endswith(STRICTER):
            raise Failed(f"{message.hex()}: expected {wanted[:600]}, found {found[:600]}")
        read += records is not None
    if not 0 < read < MUTATED:
        raise Failed(f"expected some of {MUTATED} messages to be read and some not, {read} were")
    return f"{MUTATED} damaged messages, {read} of them readable"


def altered(dice, messages: list[bytes]) -> bytes:
    if dice.random() < 0.5:
        message = bytearray(b"".join(dice.choices(PIECES, k=dice.randrange(1, 8))))
        if dice.random() < 0.5:
            message = bytearray(PIECES[0] + message + PIECES[4])
    else:
        message = bytearray(dice.choice(messages))
    for _ in range(dice.choice([0, 1, 1, 1, 2, 3])):
        if not message:
            break
        at, what = dice.randrange(len(message)), dice.random()
        if what < 0.5:
            message[at] = dice.choice([dice.randrange(256), message[at] ^ (1 << dice.randrange(8)), 0, 1, 2, 127, 128, 255])
        elif what < 0.7:
            del message[at]
        elif what < 0.85:
            del message[at:]
        else:
            message[at:at] = dice.randbytes(1)
    return bytes(message)


def framed(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message).digest()


def judged(message: bytes) -> list[tuple] | None:
    """The user records, as Google's decoder reads them and the format allows them; none of a message that is broken."""
    read = messages_pb2.AggregatedRecord()
    try:
        read.ParseFromString(message)
    except DecodeError:
        return None
    texts = [*read.partition_key_table, *read.explicit_hash_key_table,
             *(text for record in read.records for tag in record.tags for text in (tag.key, tag.value))]
    if not read.IsInitialized() or any(isinstance(text, bytes) for text in texts):
        return None  # a required member is missing, or a text is no UTF-8
    if any(len(partition_key) > 256 for partition_key in read.partition_key_table):
        return None
    decimal = [text.isascii() and text.isdigit() and int(text) < 1 << 128 for text in read.explicit_hash_key_table]
    if not all(decimal):
        return None
    hashes = [int(text) for text in read.explicit_hash_key_table]
    records = []
    for record in read.records:
        if record.partition_key_index >= len(read.partition_key_table):
            return None
        explicit = None
        if record.HasField("explicit_hash_key_index"):
            if record.explicit_hash_key_index >= len(hashes):
                return None
            explicit = hashes[record.explicit_hash_key_index]
        records.append((read.partition_key_table[record.partition_key_index], explicit, record.data))
    return records or None


def by_producer(dice) -> str:
    """Packets through a `rivulet up` that aggregates: AWS's module finds each once, in order, under its own key."""
    batches = [[{"Tag": f"{batch}-{n}", "Data": base64.b64encode(dice.choice([b"AAAA", b"BBBB", b"CCCC", dice.randbytes(4)])
                 + dice.randbytes(dice.randrange(200))).decode()} for n in range(200)] for batch in range(10)]
    with Cloud("--parameter", "RecordFormat=kpl", "--shards", "3") as cloud:
        for batch in batches:
            post(cloud.gateway, {"Messages": batch})
        lab = Lab(client("kinesis", cloud.kinesis), None)
        given, found, count = defaultdict(list), defaultdict(list), 0
        for shard in lab.shards("packets"):
            iterator = lab.iterator("packets", shard["ShardId"])
            for record in lab.kinesis.get_records(ShardIterator=iterator)["Records"]:
                count += 1
                if not record["Data"].startswith(MAGIC):
                    raise Failed(f"expected an aggregate, found {record['Data'][:80]}")
                for partition_key, explicit, packet in deaggregated(record["Data"]):
                    low, high = (int(shard["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
                    expect("the user record's hash key in its shard", low <= explicit <= high, True)
                    found[partition_key].append(json.loads(packet))
        for packet in (packet for batch in batches for packet in batch):
            given[base64.b64decode(packet["Data"])[:4].hex().upper()].append(packet)  # as the template's [0:4] says
        expect("packets by key, in order", dict(found), dict(given))
    return f"{sum(map(len, batches))} packets in {count} records"


def post(url: str, event: dict):
    request = urllib.request.Request(url, json.dumps(event).encode())
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
        expect("the status of a batch", answer.status, 200)
        answer.read()
