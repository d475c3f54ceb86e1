"""The driver's tool, faked at the seam: a script on PATH that answers the one question that `gpu=auto` asks."""

import shlex
from pathlib import Path

_ANSWERING = """#!/bin/sh
if [ "$*" != "--query-gpu=index,uuid,name,memory.total,mig.mode.current --format=csv,noheader,nounits" ]; then
  echo "asked: $*" >&2; exit 2
fi
printf '%s' {out}
printf '%s' {err} >&2
exit {status}
"""


def gpus(*kinds: tuple[str, int | str], mig: str = "[N/A]") -> str:
    """What nvidia-smi prints of GPUs of these names and MiB; their UUIDs are GPU-a0, GPU-b1 and so on."""
    rows = enumerate(zip("abcdefgh", kinds, strict=False))
    return "".join(f"{place}, GPU-{letter}{place}, {name}, {mib}, {mig}\n" for place, (letter, (name, mib)) in rows)


def install(directory: Path, out: str, *, err: str = "", status: int = 0) -> Path:
    """Put the tool into the directory, which is to be the first of PATH."""
    directory.mkdir(exist_ok=True)
    tool = directory / "nvidia-smi"
    tool.write_text(_ANSWERING.format(out=shlex.quote(out), err=shlex.quote(err), status=status))
    tool.chmod(0o755)
    return directory
