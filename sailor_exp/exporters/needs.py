"""What must be measured before an export: each exporter says it here, and one launch measures it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sailor_exp.config.schema import ModelConfig
from sailor_exp.profiles.grids import Grid
from sailor_exp.profiles.registry import profile_named

LAYERS, LINKS, OVERLAP = "layers", "network", "overlap"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user asked to measure for an exporter: a model, the GPUs of a machine, and the grid of layers."""

    model: ModelConfig
    vm: int
    tps: Sequence[int]
    microbatches: Sequence[int]


class Need(NamedTuple):
    """The cells of one profile."""

    profile: str
    grid: Grid


Needs = Callable[[Asked], Iterable[Need]]


def grid_asked(asked: Asked) -> list[Need]:
    """Return the layers as the user asked for them."""
    return [layers(asked.tps, asked.microbatches)]


def gathered(asked: Asked) -> list[Need]:
    """Return the layers, and the cells from which the gathered database takes the memory of each degree."""
    return [*grid_asked(asked), layers(asked.tps, [1])]


def simulated(asked: Asked) -> list[Need]:
    """Return the layers that the simulator looks up for the plans of every planner (readers/simulator.py).

    It reads the memory of tp 1, and takes the microbatches for the degrees: each must be one of them.
    """
    return [layers([1], [1]), *(layers([tp], [tp]) for tp in asked.tps)]


def layers(tps: Sequence[int], microbatches: Sequence[int]) -> Need:
    """Return cells of `profile=layers`."""
    return Need(LAYERS, {"tp": tps, "mbs": microbatches})


def of_profile(name: str, asked: Asked) -> list[Need]:
    """Return the cells that the readers of a profile need."""
    return [Need(name, grid) for grid in profile_named(name).grids(asked.vm)]


def links_and_overlap(asked: Asked) -> list[Need]:
    """Return all that depends on the GPU alone; one GPU has nothing to overlap with."""
    return [*of_profile(LINKS, asked), *(of_profile(OVERLAP, asked) if asked.vm > 1 else [])]
