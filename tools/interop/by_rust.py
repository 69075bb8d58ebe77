"""The Rust SDK: the example `interop` of crate cli, whose lines become rows."""

import subprocess
import threading

from cloud import BINARIES
from operations import EXERCISES
from report import Failed, Report, expect

LONGEST = 300  # seconds


def run(report: Report, cloud, throttling):
    command = [BINARIES / "examples/interop", cloud.kinesis, throttling.kinesis]
    named = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watch = threading.Timer(LONGEST, process.kill)
        watch.start()
        for line in process.stdout:
            outcome, name, words = line.rstrip("\n").split("\t")
            for operation in name.split(", "):
                named.add(operation.split()[0].lower())
                with report.check("Rust SDK", operation) as remarks:
                    if outcome != "ok":
                        raise Failed(words)
                    remarks += [words] if words else []
        watch.cancel()
    with report.check("Rust SDK", "no operation is left out"):
        expect("the status of the example", process.wait(), 0)
        operations = {name.replace("_", "") for name in EXERCISES}
        expect("operations without a check", operations - named, set())
