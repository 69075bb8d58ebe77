"""The table that the run writes: a row for each check as it ends, in the end the failures once more and the counts."""

import contextlib
import os
import shutil
import sys
import time
import traceback

CLIENT, CHECK = 16, 46  # columns


class Failed(Exception):
    """What is not as it must be, for whoever reads the table."""


class Report:
    """Rows of client, check and outcome. On a terminal the outcome has a colour, and the check under way is shown."""

    def __init__(self, out=sys.stdout):
        self.out, self.live = out, out.isatty() and "NO_COLOR" not in os.environ
        self.passed, self.failures = 0, []
        self.start = time.monotonic()
        self.line(f"{'client':{CLIENT}}{'operation or check':{CHECK}}outcome")

    @contextlib.contextmanager
    def check(self, client: str, name: str):
        """A check: passed unless the block raises. The block may append words to what it gets, which stand in the row."""
        remarks = []
        if self.live:
            self.out.write(f"{client:{CLIENT}}{name[:CHECK - 2]:{CHECK}}\033[2m...\033[0m")
            self.out.flush()
        try:
            yield remarks
        except Exception as failure:  # whatever it is, the other checks go on
            self.failures.append((client, name, told(failure)))
            self.row(client, name, "FAILED", 31, told(failure).splitlines()[0][:200])
        else:
            self.passed += 1
            self.row(client, name, "ok", 32, ", ".join(map(str, remarks)))

    @contextlib.contextmanager
    def whole(self, client: str):
        """Whatever ends a client's checks before their time is a failure of its own."""
        try:
            yield
        except Exception as failure:
            with self.check(client, "to the end of its checks"):
                raise failure

    def row(self, client: str, name: str, outcome: str, colour: int, remark: str):
        shown = f"\033[{colour}m{outcome}\033[0m" if self.live else outcome
        if self.live:  # a row is a line there; a pipe gets all of it
            remark = remark[:max(0, shutil.get_terminal_size().columns - CLIENT - CHECK - len(outcome) - 3)]
        self.line(f"{client:{CLIENT}}{name:{CHECK}}{shown}  {remark}".rstrip())

    def line(self, text: str):
        self.out.write(f"\r\033[K{text}\n" if self.live else f"{text}\n")
        self.out.flush()

    def end(self) -> int:
        """The failures in full and the counts; the exit status."""
        for client, name, words in self.failures:
            self.line(f"\nFAILED  {client}, {name}:\n  " + words.replace("\n", "\n  "))
        seconds = time.monotonic() - self.start
        self.line(f"\n{self.passed} checks passed, {len(self.failures)} failed, in {seconds:.0f} s")
        return 1 if self.failures or not self.passed else 0


def told(failure: Exception) -> str:
    """The failure in words, and where it arose unless it is one of ours."""
    words = str(failure) or type(failure).__name__
    if isinstance(failure, Failed):
        return words[:4000]
    frames = [frame for frame in traceback.extract_tb(failure.__traceback__) if "/tools/interop/" in frame.filename]
    place = f"\nat {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}, {frames[-1].line}" if frames else ""
    return f"{type(failure).__name__}: {words.rstrip()[:4000]}{place}"


def expect(what: str, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: expected {wanted!r}, found {found!r}"[:2000])
