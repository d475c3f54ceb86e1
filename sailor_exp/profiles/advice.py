"""The commands that messages advise. A choice of a group is the name of what it configures, in lower case."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sailor_exp.config.schema import Device, GatherConfig

_MICROBATCHES = (1, 2, 4, 8)

_INSTALLED = "sailor-exp-"
"""How the names of the installed commands begin."""


def started(name: str) -> str:
    """Return how `launch` or `gather` is started: as the command that runs now was, installed or from a checkout."""
    installed = Path(sys.argv[0]).name.startswith(_INSTALLED)
    return f"{_INSTALLED}{name}" if installed else f"python {name}.py"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Commands about one model and GPU. `measured_with`: overrides that are not the defaults.

    `machines_at_hand`: whether this machine can stand for several, as a CPU does.
    """

    model: str
    gpu: str
    vm: int
    measured_with: tuple[str, ...] = ()
    machines_at_hand: bool = False

    def measure(self, cells: Iterable[tuple[int, int]]) -> str:
        """Return the command that measures cells (tp, mbs)."""
        cells = list(cells)
        tps, microbatches = sorted({tp for tp, _ in cells}), sorted({mbs for _, mbs in cells})
        axes = f"vm={max([self.vm, *tps])} tp={_list(tps)} mbs={_list(microbatches)}"
        return " ".join([started("launch"), "-m", self._cell, axes, *self.measured_with])

    def profile(self, name: str) -> str:
        """Return the command that makes the file of another profile."""
        if name == "overlap":
            return self._gathered(self.overlap())
        if name == "network":
            return self._gathered(self.link("intra" if self.vm > 1 else "inter"))
        return " ".join([f"{started('launch')} -m profile={name} {self._cell}", *self._axes(name), *self.measured_with])

    def _axes(self, name: str) -> list[str]:
        """Cells without which a planner has no use for a profile; Galvatron's is of two stages at least."""
        if name == "galvatron":
            stages = _list(self._powers(1)) if self.vm > 1 else "1,2"
            return [f"vm={max(self.vm, 2)}", f"pp={stages}", f"tp={_list(self._powers(1))}"]
        if name == "varuna":
            return [f"vm={self.vm}", f"tp={self.vm}", f"mbs={_list(_MICROBATCHES)}"]
        if name == "check":
            return [f"vm={self.vm}", f"tp={_list(self._powers(1))}", "mbs=1"]
        return [f"vm={self.vm}", "tp=1"]

    def fit(self, scope: str) -> str:
        """Return the command that puts a scope into the network file."""
        return self._gathered(self.link(scope))

    def links(self) -> list[str]:
        """Return the commands that measure everything that is gathered by GPU."""
        inside = [self.link("intra"), self.overlap()] if self.vm > 1 else []
        return [self.link("inter"), *inside]

    def link(self, scope: str) -> str:
        """Return the command that measures a scope of the network file: intra or inter."""
        measuring = f"{started('launch')} -m profile=network {self._gpu} vm={self.vm}"
        if scope == "intra":
            return f"{measuring} ranks={self._groups}"
        launcher = "" if self.machines_at_hand else " hydra/launcher=slurm"
        return f"{measuring} nodes=2 ranks={_list(self._powers(1))}{launcher}"

    def overlap(self) -> str:
        """Return the command that measures overlap."""
        return f"{started('launch')} -m profile=overlap {self._gpu} vm={self.vm} ranks={self._groups}"

    def _gathered(self, measuring: str) -> str:
        return f"{measuring} && {started('gather')} {self._gpu} exporter=network"

    @property
    def _groups(self) -> str:
        return _list(self._powers(2))

    def _powers(self, least: int) -> list[int]:
        """Powers of two up to the GPUs of a machine, and these."""
        powers = {2**power for power in range(self.vm.bit_length())} | {self.vm}
        return sorted(count for count in powers if count >= least)

    def gather(self) -> str:
        """Return the command that gathers what was measured."""
        return " ".join([started("gather"), self._cell, *self.measured_with])

    @property
    def _cell(self) -> str:
        return f"model={self.model.lower()} {self._gpu}"

    @property
    def _gpu(self) -> str:
        return f"gpu={self.gpu.lower()}"


def advice_of(config: GatherConfig) -> Advice:
    """Advice in the terms of a configuration."""
    usual = GatherConfig()
    keys = ("precision", "optimizer", "attention")
    return Advice(
        model=config.model.name,
        gpu=config.gpu.name,
        vm=config.vm.gpus,
        machines_at_hand=config.gpu.device is Device.cpu,
        measured_with=tuple(
            f"{key}={getattr(config, key).value}" for key in keys if getattr(config, key) != getattr(usual, key)
        ),
    )


def _list(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)
