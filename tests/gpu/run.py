"""The run of `prove`: installs wheels, runs check after check, and writes what it has after each."""

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.gpu import by_command
from tests.gpu.by_command import ROOT, Commands, environment_of
from tests.gpu.checks import CHECKS, Asked
from tests.gpu.finding import CannotRunError, Finding, Verdict, ended
from tests.gpu.on_device import MARKER
from tests.gpu.page import page
from tests.gpu.size import SIZES

_KINDS = ((re.compile("H200"), "h200-141"), (re.compile("H100.*NVL"), "h100-nvl"), (re.compile("H100"), "h100-80"))
_ON_DEVICE_S = 240
_PRINT_NAME = "import torch; print(torch.cuda.get_device_name(0))"


def main(arguments: Sequence[str]) -> int:
    """Run the checks; return 1 where one failed."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    site = _installed(options.wheels, options.out / "site") if options.wheels else None
    environment = environment_of(site)
    findings = Findings(options.out, size=options.size)
    size = SIZES[options.size]
    kind = options.gpu or _kind_here(environment)
    deadline = time.monotonic() + options.limit_s
    commands = Commands(
        kind=kind, size=size, directory=options.out / f"work{os.getpid()}", deadline=deadline, environment=environment
    )
    chosen = [check for check in CHECKS if not options.only or check.name in options.only]
    _run(chosen, commands, findings)
    return int(any(row["verdict"] == Verdict.failed for row in findings.rows))


@dataclass
class Findings:
    """What the checks found so far; written whole after each one."""

    directory: Path
    size: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(self, check: Asked, finding: Finding, seconds: float) -> None:
        """Keep a finding, show it, and write all findings and the page."""
        row = {"name": check.name, "limit": check.limit, "source": check.source, "seconds": seconds, **asdict(finding)}
        self.rows.append(row)
        print(f"{finding.verdict:8} {check.name}: {finding.figure} ({check.limit}; {seconds:.1f} s)", flush=True)
        told = {
            "started_at": self._started_at,
            "seconds": time.monotonic() - self._began,
            "size": self.size,
            "commit": _commit(),
            "emulated": "SAILOR_EXP_EMULATED_CUDA" in os.environ,
            "checks": self.rows,
        }
        self._write("findings.json", json.dumps(told, indent=1))
        self._write("gpu.md", page(told))

    def _write(self, name: str, text: str) -> None:
        temporary = self.directory / f".{name}"
        temporary.write_text(text)
        temporary.replace(self.directory / name)


def _run(chosen: Sequence[Asked], commands: Commands, findings: Findings) -> None:
    """Checks that stand together and need the device share a process, which pays for its start once."""
    by_name = {function.__name__: function for function in by_command.CHECKS}
    together: list[Asked] = []
    for check in (*chosen, None):
        if check is not None and check.on_device:
            together.append(check)
            continue
        while together:
            together = _on_device(together, commands, findings)
        if check is not None:
            began = time.monotonic()
            findings.add(check, _finding(lambda run=by_name[check.name]: run(commands)), time.monotonic() - began)


def _finding(run: Callable[[], Finding]) -> Finding:
    try:
        return run()
    except Exception as error:  # noqa: BLE001
        return ended(error)


def _on_device(checks: list[Asked], commands: Commands, findings: Findings) -> list[Asked]:
    """Run checks in one process; return those that are left when it ended early, without the one that ended it."""
    left_s = min(_ON_DEVICE_S, commands.deadline - time.monotonic())
    waiting = list(checks)
    if left_s <= 0:
        for check in waiting:
            findings.add(check, ended(CannotRunError("no time is left")), 0.0)
        return []
    names = [check.name for check in waiting]
    command = [sys.executable, "-m", "tests.gpu.on_device", commands.kind, commands.size.name, *names]
    with (commands.directory.parent / "on_device.log").open("a+") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=dict(commands.environment), stdout=subprocess.PIPE, stderr=log, text=True
        )
        cut = threading.Timer(left_s, process.kill)
        cut.start()
        began = time.monotonic()
        for line in by_command.lines(process):
            if line.startswith(MARKER):
                found = json.loads(line.removeprefix(MARKER))
                finding = Finding(verdict=Verdict(found["verdict"]), figure=found["figure"])
                findings.add(waiting.pop(0), finding, time.monotonic() - began)
                began = time.monotonic()
        status = process.wait()
        cut.cancel()
    if waiting:
        last = (commands.directory.parent / "on_device.log").read_text().strip().splitlines()[-1:]
        text = f"its process ended with status {status}: {' '.join(last)[:300]}"
        findings.add(waiting.pop(0), Finding(verdict=Verdict.failed, figure=text), time.monotonic() - began)
    return waiting


def _kind_here(environment: dict[str, str]) -> str:
    """The kind of conf/gpu of this machine's device."""
    command = [sys.executable, "-c", _PRINT_NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    for pattern, kind in _KINDS:
        if done.returncode == 0 and pattern.search(done.stdout):
            return kind
    sys.exit(f"no H100 or H200 here ({(done.stdout + done.stderr).strip()[-300:]}); name a kind of conf/gpu: --gpu=")


def _installed(wheels: Path, site: Path) -> Path:
    """Unpack wheels into a directory of their own; nothing is fetched."""
    found = sorted(map(str, wheels.glob("*.whl")))
    if not found:
        sys.exit(f"{wheels} has no wheels: tests/gpu/wheels {wheels} collects them")
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--upgrade", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *found], check=True)
    return site


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/gpu/prove")
    parser.add_argument("--out", type=Path, required=True, help="directory for findings.json and gpu.md")
    parser.add_argument("--wheels", type=Path, help="directory of wheels to install for this run")
    parser.add_argument("--gpu", help="kind of conf/gpu; by default that of this machine")
    parser.add_argument("--size", choices=sorted(SIZES), default="full", help="small: a rehearsal")
    parser.add_argument("--limit-s", type=float, default=560, help="no check is started later")
    parser.add_argument("--only", type=lambda names: names.split(","), default=[], help="names of checks")
    options = parser.parse_args(arguments)
    unknown = set(options.only) - {check.name for check in CHECKS}
    if unknown:
        parser.error(f"no check is called {', '.join(sorted(unknown))}")
    options.out = options.out.resolve()
    return options
