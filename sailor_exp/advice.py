"""The commands that messages advise. A choice of a group is the name of what it configures, in lower case."""

from collections.abc import Iterable
from dataclasses import dataclass

from sailor_exp.config import GatherConfig


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Commands about one model and GPU. `measured_with`: overrides that are not the defaults."""

    model: str
    gpu: str
    vm: int
    measured_with: tuple[str, ...] = ()

    def measure(self, cells: Iterable[tuple[int, int]]) -> str:
        """Return the command that measures cells (tp, mbs)."""
        cells = list(cells)
        tps, microbatches = sorted({tp for tp, _ in cells}), sorted({mbs for _, mbs in cells})
        axes = f"vm={max([self.vm, *tps])} tp={_list(tps)} mbs={_list(microbatches)}"
        return " ".join(["python launch.py -m", self._cell, axes, *self.measured_with])

    def profile(self, name: str) -> str:
        """Return the command that measures another profile."""
        about = self._gpu if name in {"network", "overlap"} else self._cell
        return f"python launch.py profile={name} {about} vm={self.vm}"

    def gather(self) -> str:
        """Return the command that gathers what was measured."""
        return " ".join([f"python gather.py {self._cell}", *self.measured_with])

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
        measured_with=tuple(
            f"{key}={getattr(config, key).value}" for key in keys if getattr(config, key) != getattr(usual, key)
        ),
    )


def _list(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)
