"""Whole commands on emulated GPUs: every process that imports torch has one, and gloo stands for NCCL."""

import json
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent
_VARIABLE = "SAILOR_EXP_EMULATED_CUDA"


def environment(*, group: str = "gloo", touched: bool = False, dies: tuple[int, int] | None = None) -> dict[str, str]:
    """Variables with which a command and all its processes have the emulation.

    touched: whether the server that forks ranks has called CUDA. dies: a rank, and the event, counted from its first
    spinning, at which it is killed.
    """
    search = os.pathsep.join([str(_ROOT / "tests/emulated_cuda/site"), str(_ROOT)])
    return {
        **os.environ,
        "PYTHONPATH": search,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        _VARIABLE: json.dumps({"group": group, "touched": touched, "dies": dies}),
    }


def install_in_this_process() -> None:
    """Give this process the GPU that the variable describes, until it ends."""
    from tests.emulated_cuda.torch_cuda import install

    asked = json.loads(os.environ[_VARIABLE])
    gpu = _mortal(asked["dies"])
    install(gpu, _UNTIL_THE_END, group=asked["group"])
    if asked["touched"] and "multiprocessing.forkserver" in " ".join(sys.orig_argv):
        gpu.process = os.getpid()


def _mortal(dies: tuple[int, int] | None):
    from tests.emulated_cuda.gpu import Gpu

    @dataclass
    class Mortal(Gpu):
        """The process of one device is killed at an event after it has spun first, which is just before its steps."""

        marked: int = 0
        spun: bool = False

        def work(self, cycles: int) -> None:
            self.spun = True
            super().work(cycles)

        def now_s(self) -> float:
            self.marked += self.spun
            if dies is not None and (self.index, self.marked) == tuple(dies):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().now_s()

    return Mortal()


_UNTIL_THE_END = ExitStack()
