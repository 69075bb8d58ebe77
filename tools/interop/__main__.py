"""Other people's clients against the local cloud, each operation of each: `make interop`.

Starts `rivulet up` on free ports of 127.0.0.1 and lets boto3, the AWS CLI, the Rust SDK and aws-kinesis-agg at it.
Ends with 1 if anything is not as it must be. Nothing here reaches AWS: credentials are made up, profiles are hidden.
"""

import argparse
import importlib
import os
import sys

from cloud import Cloud, surroundings
from report import Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="make interop", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(CLIENTS), help="one client; all of them when not given")
    only = parser.parse_args().only
    environment = surroundings(os.devnull)
    os.environ.clear()
    os.environ.update(environment)
    report = Report()
    with Cloud() as cloud, Cloud("--throttle") as throttling:
        for name, run in CLIENTS.items():
            if only in (None, name):
                with report.whole(name):
                    run(report, cloud, throttling)
    return report.end()


def of(module: str):
    """The client's checks, loaded once the environment is clean."""
    return lambda *about: importlib.import_module(module).run(*about)


CLIENTS = {"boto3": of("by_boto3"), "aws": of("by_cli"), "rust": of("by_rust"), "kpl": of("aggregates")}

if __name__ == "__main__":
    sys.exit(main())
