"""Processes known by pid and start time, so that a pid that was given out again is never taken for ours."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

STATE, START_TICKS = 0, 19  # fields of /proc/<pid>/stat behind the name, proc(5)


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of this machine, as long as it lives."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Raises ProcessLookupError when there is none."""
        fields = stat_fields(pid)
        if fields is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid=pid, start_ticks=int(fields[START_TICKS]))

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The process that `write` noted, None where no note was left."""
        try:
            pid, start_ticks = path.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return cls(pid=int(pid), start_ticks=int(start_ticks))

    def write(self, path: Path) -> None:
        path.write_text(f"{self.pid} {self.start_ticks}\n")

    def alive(self) -> bool:
        """Whether it runs; one that has ended and waits to be reaped does not."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        fields = stat_fields(self.pid)
        return fields is not None and int(fields[START_TICKS]) == self.start_ticks and fields[STATE] not in "ZX"

    def has_variable(self, name: str) -> bool:
        return name in environment_of(self.pid)

    def send(self, number: signal.Signals) -> None:
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, patience_s: float = 5.0) -> None:
        """Asks it to end, and kills it when it has not within `patience_s`."""
        self.send(signal.SIGTERM)
        if not self.gone_within(patience_s):
            self.send(signal.SIGKILL)
            self.gone_within(patience_s)

    def gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.alive()


def stat_fields(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def processes_with(variable: str, value: str) -> Iterator[Process]:
    """Processes that were started with this environment variable set to this value."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and environment_of(int(entry.name)).get(variable) == value:
            with suppress(ProcessLookupError):
                yield Process.of(int(entry.name))


def environment_of(pid: int) -> dict[str, str]:
    """As it was when the process began; empty for one that has ended or belongs to the kernel."""
    try:
        settings = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(setting.split("=", 1) for setting in settings if "=" in setting)
