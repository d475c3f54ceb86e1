"""SLURM's commands, faked at the seam: scripts on PATH that log their calls and answer what a test lays down."""

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ANSWERING = """#!/bin/sh
# Prints {name}.0, then {name}.1 and so on, the last of them for ever; fails with {name}.fails where that is.
cd {directory}
echo "$@" >> {name}.calls
if [ -e {name}.fails ]; then cat {name}.fails >&2; exit 1; fi
count=$(cat {name}.count 2>/dev/null || echo 0)
echo $((count + 1)) > {name}.count
while [ $count -gt 0 ] && [ ! -e {name}.$count ]; do count=$((count - 1)); done
if [ -e {name}.$count ]; then cat {name}.$count; fi
"""
_SBATCH = """#!/bin/sh
cd {directory}
env | grep ^SLURM_ > sbatch.environment
if [ -e sbatch.fails ]; then cat sbatch.fails >&2; exit 1; fi
number=$(($(cat sbatch.count 2>/dev/null || echo 10) + 1))
echo $number > sbatch.count
cp "$1" script.$number
echo "Submitted batch job $number"
"""


@dataclass(frozen=True)
class FakeSlurm:
    """The directory of the scripts, of their answers and of the calls that they got."""

    directory: Path

    @classmethod
    def install(cls, directory: Path) -> "FakeSlurm":
        directory.mkdir()
        for name in ("squeue", "sacct", "scontrol", "scancel", "srun"):
            cls._write(directory / name, _ANSWERING.format(name=name, directory=directory))
        cls._write(directory / "sbatch", _SBATCH.format(directory=directory))
        return cls(directory)

    @property
    def path(self) -> str:
        return f"{self.directory}:{os.environ['PATH']}"

    def answer(self, command: str, *answers: str) -> None:
        """Lay down what a command prints: first, second, and the last for ever; counts from now."""
        for old in self.directory.glob(f"{command}.*"):
            if old.suffix != ".calls":
                old.unlink()
        for number, answer in enumerate(answers):
            (self.directory / f"{command}.{number}").write_text(answer)

    def fail(self, command: str, message: str) -> None:
        (self.directory / f"{command}.fails").write_text(message)

    def calls(self, command: str) -> list[str]:
        path = self.directory / f"{command}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def scripts(self) -> list[str]:
        """The scripts that sbatch took, in order."""
        return [
            path.read_text() for path in sorted(self.directory.glob("script.*"), key=lambda path: int(path.suffix[1:]))
        ]

    def options(self, name: str) -> list[str | None]:
        """The value of one option in each script, None where it has none."""
        found = []
        for script in self.scripts():
            values = [line.partition("=")[2] for line in script.splitlines() if line.startswith(f"#SBATCH --{name}=")]
            found.append(values[0] if values else None)
        return found

    @staticmethod
    def _write(path: Path, script: str) -> None:
        path.write_text(script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def squeue_lines(jobs: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{job}|{state}|None|n1\n" for job, state in jobs)


def sacct_lines(jobs: Sequence[tuple[str, str]]) -> str:
    return "".join(f"{job}|{state}|0:0|n1\n" for job, state in jobs)


def submissions(directory: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((directory / "ledger").glob("*.json"))]
