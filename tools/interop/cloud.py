"""`rivulet up`, started on free ports of 127.0.0.1 with nothing of the caller's AWS, and ended whatever happens."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from report import Failed

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "local"
REGION = "us-east-1"
ACCOUNT = "000000000000"
PATIENCE = 60  # seconds: longest wait for anything

# Flags that let every part listen on a port of its own choice.
FREE_PORTS = [word for part in ("udp", "http", "lambda", "kinesis", "queue") for word in (f"--{part}", "127.0.0.1:0")]

# What `rivulet up` says of where it listens.
SAYS = {
    "kinesis": r"Kinesis API at (http://[0-9.:]+)",
    "gateway": r"^ +HTTP +(http://[0-9.:]+)",
    "lambda_": r"^ +Lambda +(http://[0-9.:]+)",
    "queue": r"^ +queue +(http://\S+)",
}


class Cloud:
    """A `rivulet up` under way: `kinesis`, `lambda_` and `gateway` are URLs of its parts, `queue` that of its queue."""

    def __init__(self, *arguments: str):
        self.arguments = arguments

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="interop-")
        command = [BINARIES / "rivulet", "up", *FREE_PORTS, "--template", ROOT / "template.yaml", *self.arguments]
        # In a folder of its own: what is unfinished in the end goes into a file below the working directory.
        self.process = subprocess.Popen(command, cwd=self.folder.name, env=surroundings(self.folder.name),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, preexec_fn=end_with_parent)
        self.log, self.said, self.ready = [], [], threading.Event()
        readers = [threading.Thread(target=self.read, args=about, daemon=True)
                   for about in ((self.process.stdout, self.log), (self.process.stderr, self.said))]
        for reader in readers:
            reader.start()
        try:
            if not self.ready.wait(PATIENCE):
                raise Failed("rivulet up did not say where it listens:\n" + "".join(self.said[-15:]))
            said = "".join(self.said)
            for part, words in SAYS.items():
                setattr(self, part, self.found(words, said))
        except BaseException:
            self.__exit__()
            raise
        return self

    def read(self, pipe, lines: list[str]):
        for line in pipe:
            lines.append(line)
            if "Ctrl-C" in line:
                self.ready.set()
        self.ready.set()  # it ended: whoever waits shall see what it said

    def found(self, words: str, said: str) -> str:
        if not (match := re.search(words, said, re.MULTILINE)):
            raise Failed(f"expected {words} in what rivulet up says at its start:\n{said}")
        return match[1]

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()


def surroundings(home: str) -> dict[str, str]:
    """The environment of everything that is started: no profile, no endpoint and no credentials but made-up ones."""
    inherited = {name: value for name, value in os.environ.items() if not re.fullmatch("AWS_.*|MAKE.*|MFLAGS", name)}
    return inherited | {
        "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": f"{home}/no-config",
        "AWS_SHARED_CREDENTIALS_FILE": f"{home}/no-credentials", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }


def end_with_parent():
    """In the child: a SIGTERM when this run dies without a chance to clean up (prctl's PR_SET_PDEATHSIG, on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
