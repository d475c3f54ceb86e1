"""The commands that messages advise. The choice of a group is the name of what it configures, in lower case."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sailor_exp.config.schema import Device, GatherConfig
from sailor_exp.profiles.grids import Grid
from sailor_exp.profiles.registry import profile_named

_LINKS = "network"
_LEAST_GROUP = 2
_WITHIN_A_VM = ("pp", "tp", "ranks")

_INSTALLED = "sailor-exp-"
"""The prefix of the installed commands."""


def started(name: str) -> str:
    """Return how to start `launch` or `gather`: like the present command, installed or from a checkout."""
    installed = Path(sys.argv[0]).name.startswith(_INSTALLED)
    return f"{_INSTALLED}{name}" if installed else f"python {name}.py"


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Commands about one model and GPU. `measured_with`: overrides that differ from the defaults.

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

    def profile(self, name: str, axes: str | None = None) -> str:
        """Return the command that measures another profile; network and overlap are also gathered.

        axes: the cells of a profile about a model; None for those that its reader needs at least.
        """
        profile = profile_named(name)
        if profile.about_model:
            axes = axes or self._axes(profile.grids(self.vm)[0])
            return " ".join([f"{started('launch')} -m profile={name} {self._cell} {axes}", *self.measured_with])
        return self._gathered(self.link("intra" if self.vm > 1 else "inter") if name == _LINKS else self.overlap())

    def fit(self, scope: str) -> str:
        """Return the command that measures a scope and puts it into the network file."""
        return self._gathered(self.link(scope))

    def links(self) -> list[str]:
        """Return the commands that measure what depends on the GPU alone: links and overlap."""
        inside = [self.link("intra"), self.overlap()] if self.vm > 1 else []
        return [self.link("inter"), *inside]

    def link(self, scope: str) -> str:
        """Return the command that measures a scope of the network file: intra or inter."""
        between = scope == "inter"
        vm = self.vm if between else max(self.vm, _LEAST_GROUP)
        grid = next(grid for grid in profile_named(_LINKS).grids(vm) if ("nodes" in grid) == between)
        return f"{self._of_gpu(_LINKS, grid)}{' hydra/launcher=slurm' if between and not self.machines_at_hand else ''}"

    def overlap(self) -> str:
        """Return the command that measures overlap."""
        return self._of_gpu("overlap", profile_named("overlap").grids(self.vm)[0])

    def _of_gpu(self, profile: str, grid: Grid) -> str:
        return f"{started('launch')} -m profile={profile} {self._gpu} {self._axes(grid)}"

    def _axes(self, grid: Grid) -> str:
        """Return a grid in the words of the command line, in a machine that has the GPUs for it."""
        vm = max([self.vm, *(count for key in _WITHIN_A_VM for count in grid.get(key, []))])
        return " ".join([f"vm={vm}", *(f"{key}={_list(values)}" for key, values in grid.items())])

    def _gathered(self, command: str) -> str:
        return f"{command} && {started('gather')} {self._gpu} exporter=network"

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
    """Return the advice for a configuration."""
    defaults = GatherConfig()
    keys = ("precision", "optimizer", "attention")
    return Advice(
        model=config.model.name,
        gpu=config.gpu.name,
        vm=config.vm.gpus,
        machines_at_hand=config.gpu.device is Device.cpu,
        measured_with=tuple(
            f"{key}={getattr(config, key).value}" for key in keys if getattr(config, key) != getattr(defaults, key)
        ),
    )


def _list(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)
