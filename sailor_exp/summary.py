"""From what the ranks of a cell measured to what its record says: pure, and without torch.

Legend: T ranks, N steps, warm-up first.
"""

from collections.abc import Sequence

from sailor_exp.config import Cell, sampling_target
from sailor_exp.layers import kinds_by_layer_id
from sailor_exp.messages import LayersMeasurement
from sailor_exp.record import (
    KindStatistics,
    Memory,
    PartMemory,
    PartSamples,
    Samples,
    Statistics,
    Timing,
)
from sailor_exp.sampling import StepTimes, StoppingRule
from sailor_exp.stats import median, rank_skew, relative_half_width, slowest_rank, trimmed_mean

_TIMES = ("forward_s", "backward_s", "update_s", "overhead_s")


def samples_of(cell: Cell, ranks: Sequence[LayersMeasurement]) -> Samples:
    """Raw samples of all ranks, part by part."""
    return Samples(
        warmup=cell.sampling.warmup,
        parts=[
            PartSamples(
                part=part.part,
                kind=part.kind,
                **{times: [getattr(rank.parts[index], times) for rank in ranks] for times in _TIMES},
            )
            for index, part in enumerate(ranks[0].parts)
        ],
        calibration_s=[rank.calibration_s for rank in ranks],
    )


def statistics_of(cell: Cell, samples: Samples) -> Statistics:
    """Statistics of the steps after the warm-up."""
    rule = StoppingRule(cell.sampling, sampling_target(cell))
    step_s = _step_seconds(samples)
    slowest_s = slowest_rank(step_s)
    for step, calibration in zip(slowest_s, slowest_rank(_counting(samples, samples.calibration_s)), strict=True):
        rule.add(StepTimes(step_s=step, calibration_s=calibration))
    return Statistics(
        steps=len(slowest_s),
        converged=rule.converged(),
        target=rule.target,
        relative_half_width=rule.half_width(),
        step=_timing([step_s]),
        kinds={kind: _kind_statistics(samples, kind) for kind in _kinds(samples)},
    )


def memory_of(ranks: Sequence[LayersMeasurement]) -> Memory:
    """Memory by kind; of ranks and of parts of one kind the largest."""
    kinds: dict[str, list[dict[str, int]]] = {}
    for rank in ranks:
        for part in rank.memory:
            kinds.setdefault(part.kind, []).append(part.counts)
    return Memory(
        kinds={
            kind: PartMemory(**{name: max(counts[name] for counts in all_counts) for name in all_counts[0]})
            for kind, all_counts in kinds.items()
        },
        peak_bytes=max(rank.peak_bytes for rank in ranks),
        reserved_bytes=_largest([rank.reserved_bytes for rank in ranks]),
        device_used_bytes=_largest([rank.device_used_bytes for rank in ranks]),
    )


def layers_of(cell: Cell) -> dict[str, str]:
    """Every layer id of the model with the kind that stands for it."""
    return kinds_by_layer_id(cell.model)


def _kinds(samples: Samples) -> list[str]:
    return list(dict.fromkeys(part.kind for part in samples.parts))


def _counting(samples: Samples, times_s: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    return [rank[samples.warmup :] for rank in times_s]


def _step_seconds(samples: Samples) -> list[list[float]]:
    """Seconds of each step that counts on each rank: all phases of all parts. Shape (T, N)."""
    per_time = [_counting(samples, getattr(part, times)) for part in samples.parts for times in _TIMES]
    ranks = range(len(samples.calibration_s))
    return [[sum(step) for step in zip(*(times[rank] for times in per_time), strict=True)] for rank in ranks]


def _kind_statistics(samples: Samples, kind: str) -> KindStatistics:
    parts = [part for part in samples.parts if part.kind == kind]
    return KindStatistics(
        **{
            times.removesuffix("_s"): _timing([_counting(samples, getattr(part, times)) for part in parts])
            for times in _TIMES
        }
    )


def _timing(parts_s: Sequence[Sequence[Sequence[float]]]) -> Timing:
    """Parts of one kind, each of shape (T, N): the slowest rank of each step, then the mean over the parts."""
    slowest = [slowest_rank(part) for part in parts_s]
    steps_s = [sum(step) / len(slowest) for step in zip(*slowest, strict=True)]
    return Timing(
        value_s=trimmed_mean(steps_s),
        median_s=median(steps_s),
        relative_half_width=relative_half_width(steps_s),
        skew_s=max(rank_skew(part) for part in parts_s),
    )


def _largest(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if known else None
