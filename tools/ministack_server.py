"""ministack, started for a check on 127.0.0.1 with an empty environment, and ended whatever happens.

Also how to run, wait for and end processes by their ids, which the check needs for every other command too.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

MINISTACK = Path(__file__).resolve().parent.parent / ".tools/ministack/bin/ministack"
REGION = "eu-west-1"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past any proxy


class Failed(Exception):
    """Why the check failed, for whoever reads the last line."""


class Server:
    """ministack, started with an empty environment and ended whatever happens."""

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        start = time.monotonic()
        self.log = open(self.folder / "ministack.log", "w")
        environment = {  # all that it, and so the functions that it starts, get to see
            "PATH": "/usr/bin:/bin", "HOME": str(self.folder), "TMPDIR": str(self.folder),
            "GATEWAY_PORT": str(self.port), "MINISTACK_REGION": REGION, "AWS_ENDPOINT_URL": self.url,
            # Signatures and IAM policies count, so what the functions do has to be in their roles.
            "AUTH": "true",
            # Without these it listens on all interfaces.
            "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",
            "S3_DATA_DIR": str(self.folder / "s3"), "STATE_DIR": str(self.folder / "state"),
            # Where there is a Docker, it would remove containers there that it takes for its own.
            "DOCKER_HOST": f"unix://{self.folder}/no-docker",
        }
        self.process = subprocess.Popen([MINISTACK], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT,
                                        start_new_session=True, preexec_fn=end_with_parent)
        try:
            if not within(60, self.answers, bool):
                raise Failed("ministack did not answer within 60 s")
            self.expect_loopback()
        except BaseException:
            self.__exit__()
            raise
        version = subprocess.run([MINISTACK.parent / "pip", "show", "ministack"], capture_output=True, text=True).stdout
        self.version = version.splitlines()[1].removeprefix("Version: ")
        self.seconds = time.monotonic() - start
        return self

    def answers(self) -> bool:
        if self.process.poll() is not None:
            raise Failed("ministack ended at its start:\n" + self.last_lines())
        try:
            return DIRECT.open(f"{self.url}/_ministack/health", timeout=2).status == 200
        except OSError:
            return False

    def last_lines(self) -> str:
        return "\n".join((self.folder / "ministack.log").read_text(errors="replace").splitlines()[-15:])

    def expect_loopback(self):
        """No socket of the server, or of a function that it started, listens beyond this machine."""
        sockets = {opened for process in group(self.process.pid) for opened in opened_by(process)}
        listening = [fields[1] for table in ("tcp", "tcp6") for fields in map(str.split, open(f"/proc/net/{table}"))
                     if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets]  # 0A is LISTEN
        beyond = [address for address in listening if not address.startswith("0100007F:")]
        if beyond or not listening:
            raise Failed(f"ministack should listen on 127.0.0.1 alone; /proc/net/tcp says that it does on {listening}")

    def __exit__(self, *_):
        signal.alarm(0)  # nothing interrupts this
        end_group(self.process, patience=10)
        self.log.close()
        if sys.exc_info()[0]:
            print(f"the last lines of ministack's log:\n{self.last_lines()}", file=sys.stderr)


def within(seconds: float, look, enough):
    """What `look` finds as soon as it is enough, or in the end whatever it is."""
    end = time.monotonic() + seconds
    while not enough(found := look()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def group(leader: int) -> list[int]:
    """The processes of the leader's group."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[2]) == leader:
                members.append(int(stat.parent.name))
    return members


def opened_by(process: int) -> list[str]:
    """What the process has open, as its descriptors say: files, and `socket:[inode]`."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # the process is gone
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(os.readlink(f"/proc/{process}/fd/{descriptor}"))
    return found


def end_group(leader: subprocess.Popen, patience: float = 2):
    """Ends the process and everything of its group, by id: with a request first, then without."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(leader.pid, number)
        except ProcessLookupError:
            break
        end = time.monotonic() + patience
        while time.monotonic() < end and (leader.poll() is None or group(leader.pid)):
            time.sleep(0.05)
    leader.wait()


def end_with_parent():
    """In the child: a SIGTERM when this check dies without a chance to clean up (prctl's PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
