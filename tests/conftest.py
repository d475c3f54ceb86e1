"""Fixtures that run the command lines as a user does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Sweep:
    """A running `launch.py`, its output, and the ranks that it has started."""

    process: subprocess.Popen[str]
    output: Path
    ranks_seen: set[int] = field(default_factory=set)

    def ranks(self) -> list[psutil.Process]:
        """Processes forked from the fork server, in the order they were started."""
        try:
            children = psutil.Process(self.process.pid).children()
            servers = [child for child in children if any("forkserver" in word for word in child.cmdline())]
            return sorted((rank for server in servers for rank in server.children()), key=lambda rank: rank.pid)
        except psutil.NoSuchProcess:
            return []

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.output.read_text()
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.05)

    def wait_for_ranks(self, count: int) -> list[psutil.Process]:
        self.wait_for(lambda: len(self.ranks()) == count)
        return self.ranks()

    def finish(self, seconds: float = 120) -> str:
        self.process.wait(timeout=seconds)
        return self.output.read_text()


@contextmanager
def _interrupts_heard() -> Iterator[None]:
    """For what is started as in a terminal: a worker of xdist ignores interrupts, and a child would inherit that."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


@pytest.fixture
def start_sweep(tmp_path: Path) -> Iterator[Callable[..., Sweep]]:
    """Starts `launch.py` with the arguments, in the temporary directory; ends what a test leaves running."""
    started: list[Sweep] = []

    def start(*arguments: str) -> Sweep:
        output = tmp_path / f"output{len(started)}.txt"
        with output.open("w") as file, _interrupts_heard():
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "launch.py"), *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        started.append(Sweep(process, output))
        return started[-1]

    yield start
    for sweep in started:
        if sweep.process.poll() is None:
            os.killpg(sweep.process.pid, signal.SIGKILL)
            sweep.process.wait()


@pytest.fixture
def launch(start_sweep: Callable[..., Sweep]) -> Callable[..., tuple[int, str]]:
    """Runs `launch.py` to its end: exit status and output."""

    def run(*arguments: str) -> tuple[int, str]:
        sweep = start_sweep(*arguments)
        output = sweep.finish()
        return sweep.process.returncode, output

    return run


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """This process is the only rank of its group."""
    import torch
    from megatron.core import parallel_state

    from sailor_exp.instruments.agreement import RankAgreement
    from sailor_exp.training.process_group import join_group
    from tests.build.cells import cell

    patch = pytest.MonkeyPatch()
    patch.setattr(torch.cuda, "current_device", torch.cuda.current_device)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "DS_ACCELERATOR"):
        patch.setenv(name, "cpu" if name == "DS_ACCELERATOR" else "0")
    join_group(0, cell("tp=1"), f"file://{tmp_path_factory.mktemp('group') / 'rendezvous'}")
    assert RankAgreement(torch.device("cpu")).maximum([1.0, 2.0]) == [1.0, 2.0]
    yield
    parallel_state.destroy_model_parallel()
    torch.distributed.destroy_process_group()
    patch.undo()
