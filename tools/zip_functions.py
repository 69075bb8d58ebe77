"""Packs what `sam build` built into zips, prints their sizes, and refuses binaries that Lambda could not start.

    zip_functions.py .aws-sam/build .aws-sam
"""

import re
import sys
import zipfile
from pathlib import Path

# provided.al2023 is Amazon Linux 2023, whose glibc is 2.34 ("Packages in AL2023", docs.aws.amazon.com/linux/al2023).
GLIBC = (2, 34)
# Lambda takes 50 MB in a request of its own, more only through S3
# ("Lambda quotas", docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
LARGEST_ZIP = 50 * 1024 * 1024


def newest_glibc(binary: bytes) -> tuple[int, ...]:
    """The newest glibc that the binary asks for. The names of versions stand in its dynamic string table, each ended
    by a zero byte; looking for them everywhere can only find too many."""
    found = re.findall(rb"\0GLIBC_([0-9]+(?:\.[0-9]+)+)(?=\0)", binary)
    return max((tuple(map(int, version.split(b"."))) for version in found), default=(0,))


def machine(binary: bytes) -> str:
    """The instruction set, as Lambda names it."""
    if binary[:4] != b"\x7fELF":
        return "no Linux binary"
    return {62: "x86_64", 183: "arm64"}.get(int.from_bytes(binary[18:20], "little"), "of an unknown machine")


def main() -> int:
    build, out = map(Path, sys.argv[1:])
    binaries = sorted(build.glob("*/bootstrap"))
    mistakes = [] if binaries else [f"expected {build}/*/bootstrap, as sam build makes them; found none"]
    for path in binaries:
        binary = path.read_bytes()
        name = path.parent.name
        file = out / f"{name}.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            packed.write(path, "bootstrap")
        size = file.stat().st_size
        version = newest_glibc(binary)
        needs = "no glibc" if version == (0,) else "glibc " + ".".join(map(str, version))
        print(f"{file}: {size:,} bytes; bootstrap {len(binary):,} bytes, {machine(binary)}, needs {needs}")
        if machine(binary) not in ("x86_64", "arm64"):
            mistakes.append(f"{path} is {machine(binary)}; Lambda runs x86_64 and arm64")
        if version > GLIBC:
            mistakes.append(f"{path} needs {needs}, and Lambda has 2.34; built without cargo-lambda's own linker?")
        if size > LARGEST_ZIP:
            mistakes.append(f"{file} is larger than the {LARGEST_ZIP:,} bytes that Lambda takes")
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
