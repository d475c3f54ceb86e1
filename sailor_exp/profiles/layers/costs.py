"""Costs of each kind of part in each step of the chain. Pure functions, without torch.

Legend: T ranks, N steps, warm-up first.
"""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sailor_exp.config.architecture import Kind
from sailor_exp.errors import NoSamplesError
from sailor_exp.profiles.layers.measurement import PartSamples, Samples

TIMES = ("forward_s", "backward_s", "update_s", "overhead_s")
_REVERSED = {"backward_s", "accumulate_s"}
_LAYERS = {Kind.layer.value, Kind.layer_window.value}


@dataclass(frozen=True, kw_only=True)
class KindCost:
    """Seconds of one kind of part in one step; `accumulate_s` is None where it is not measured separately."""

    forward_s: float
    backward_s: float
    update_s: float
    accumulate_s: float | None


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Costs of one step: of each kind of part, and of DeepSpeed's step beyond the updates of all parts.

    after_embedding_s: what the forward of the layer after the embedding takes beyond that of a layer after a layer;
    after_head_s: the same for the backward of the layer after the head. Both may be negative; a model has each once.
    """

    kinds: dict[str, KindCost]
    overhead_s: float
    after_embedding_s: float
    after_head_s: float


def step_costs(samples: Samples) -> list[StepCost]:
    """Return the costs of every step, warm-up first, on the rank with the slowest step, so that they add up to a step.

    The slowest ranks of each part would not add up: ranks wait for each other inside every part, and a rank that is
    late in one part is not late in the next. Raises NoSamplesError if a rank recorded none.
    """
    return [_cost(samples, rank, step) for step, rank in enumerate(_slowest(samples))]


def launch_seconds(samples: Samples, kind: str, times: str) -> list[float] | None:
    """Return the host's seconds to launch a phase of a kind in every step, on the rank with the slowest step.

    None where the host does the work itself. Raises NoSamplesError.
    """
    launches = [part.launch for part in parts_that_stand_for(samples, kind, times)]
    known = [launch for launch in launches if launch is not None]
    if len(known) < len(launches):
        return None
    return [
        statistics.fmean(getattr(launch, times)[rank][step] for launch in known)
        for step, rank in enumerate(_slowest(samples))
    ]


def step_seconds(samples: Samples) -> list[list[float]]:
    """Return the seconds of each step on each rank, all phases of all parts without accumulating: shape (T, N)."""
    ranks = range(len(samples.calibration_s))
    per_time = [getattr(part, times) for part in samples.parts for times in TIMES]
    return [[sum(step) for step in zip(*(times[rank] for times in per_time), strict=True)] for rank in ranks]


def parts_that_stand_for(samples: Samples, kind: str, times: str) -> list[PartSamples]:
    """Return the parts of a kind that run after a layer, or all parts of the kind if none does.

    The layer right after another kind of part finds that part's data in the caches: it is the first layer in the
    forward, the last one in the backward. A model has one such layer, and all others follow a layer.
    """
    in_order = list(reversed(samples.parts)) if times in _REVERSED else list(samples.parts)
    of_kind = [part for part in in_order if part.kind == kind]
    after_a_layer = [
        part for before, part in itertools.pairwise(in_order) if part.kind == kind and {before.kind, kind} <= _LAYERS
    ]
    return after_a_layer or of_kind


def _slowest(samples: Samples) -> list[int]:
    ranks_s = step_seconds(samples)
    if not ranks_s or not all(ranks_s):
        raise NoSamplesError("a rank recorded no samples")
    return [max(range(len(ranks_s)), key=step.__getitem__) for step in zip(*ranks_s, strict=True)]


def _cost(samples: Samples, rank: int, step: int) -> StepCost:
    kinds = dict.fromkeys(part.kind for part in samples.parts)
    return StepCost(
        kinds={kind: _kind_cost(samples, kind, rank, step) for kind in kinds},
        overhead_s=sum(part.overhead_s[rank][step] for part in samples.parts),
        after_embedding_s=_excess_s(samples, "forward_s", rank, step),
        after_head_s=_excess_s(samples, "backward_s", rank, step),
    )


def _excess_s(samples: Samples, times: str, rank: int, step: int) -> float:
    """Return the seconds of the transformer layer that runs first, beyond those that stand for its kind."""
    in_order = reversed(samples.parts) if times in _REVERSED else iter(samples.parts)
    first = next((part for part in in_order if part.kind in _LAYERS), None)
    if first is None:
        return 0.0
    usual_parts = parts_that_stand_for(samples, first.kind, times)
    usual_s = statistics.fmean(getattr(part, times)[rank][step] for part in usual_parts)
    return float(getattr(first, times)[rank][step]) - usual_s


def _kind_cost(samples: Samples, kind: str, rank: int, step: int) -> KindCost:
    def mean_s(times: str) -> float:
        return statistics.fmean(getattr(part, times)[rank][step] for part in parts_that_stand_for(samples, kind, times))

    accumulates = all(part.accumulate_s is not None for part in samples.parts)
    return KindCost(
        forward_s=mean_s("forward_s"),
        backward_s=mean_s("backward_s"),
        update_s=mean_s("update_s"),
        accumulate_s=mean_s("accumulate_s") if accumulates else None,
    )


def counting(samples: Samples, times_s: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """Return times of shape (T, N) without the warm-up: shape (T, N - warmup)."""
    return [rank[samples.warmup :] for rank in times_s]
