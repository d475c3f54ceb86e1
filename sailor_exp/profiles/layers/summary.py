"""From what the ranks of a cell measured to what its record says: pure, and without torch.

Legend: T ranks, N steps, warm-up first.
"""

from collections.abc import Sequence

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.instruments.sampling import StepTimes, StoppingRule
from sailor_exp.profiles.layers.costs import TIMES, StepCost, counting, step_costs, step_seconds
from sailor_exp.profiles.layers.measurement import (
    KindStatistics,
    Memory,
    PartMemory,
    PartSamples,
    Samples,
    Statistics,
    Timing,
)
from sailor_exp.profiles.layers.payload import LayersMeasurement
from sailor_exp.stats import median, rank_skew, relative_half_width, slowest_rank, trimmed_mean


def samples_of(cell: Cell, ranks: Sequence[LayersMeasurement]) -> Samples:
    """Raw samples of all ranks, part by part."""
    return Samples(
        warmup=cell.sampling.warmup,
        parts=[
            PartSamples(
                part=part.part,
                kind=part.kind,
                **{times: [getattr(rank.parts[index], times) for rank in ranks] for times in TIMES},
                accumulate_s=_on_every_rank([rank.parts[index].accumulate_s for rank in ranks]),
            )
            for index, part in enumerate(ranks[0].parts)
        ],
        calibration_s=[rank.calibration_s for rank in ranks],
    )


def statistics_of(cell: Cell, samples: Samples) -> Statistics:
    """Statistics of the steps after the warm-up."""
    rule = StoppingRule(cell.sampling, sampling_target(cell))
    step_s = counting(samples, step_seconds(samples))
    slowest_s = slowest_rank(step_s)
    for step, calibration in zip(slowest_s, slowest_rank(counting(samples, samples.calibration_s)), strict=True):
        rule.add(StepTimes(step_s=step, calibration_s=calibration))
    costs = step_costs(samples)[samples.warmup :]
    return Statistics(
        steps=len(slowest_s),
        converged=rule.converged(),
        target=rule.target,
        relative_half_width=rule.half_width(),
        step=timing(slowest_s, skew_s=rank_skew(step_s)),
        kinds={kind: _kind_statistics(samples, costs, kind) for kind in costs[0].kinds},
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


def timing(steps_s: Sequence[float], *, skew_s: float) -> Timing:
    """Statistics of a series of steps."""
    return Timing(
        value_s=trimmed_mean(steps_s),
        median_s=median(steps_s),
        relative_half_width=relative_half_width(steps_s),
        skew_s=skew_s,
    )


def _kind_statistics(samples: Samples, costs: Sequence[StepCost], kind: str) -> KindStatistics:
    parts = [part for part in samples.parts if part.kind == kind]

    def of(times: str, steps_s: Sequence[float]) -> Timing:
        return timing(steps_s, skew_s=max(rank_skew(counting(samples, getattr(part, times))) for part in parts))

    kinds = [cost.kinds[kind] for cost in costs]
    accumulates_s = [cost.accumulate_s for cost in kinds if cost.accumulate_s is not None]
    return KindStatistics(
        forward=of("forward_s", [cost.forward_s for cost in kinds]),
        backward=of("backward_s", [cost.backward_s for cost in kinds]),
        update=of("update_s", [cost.update_s for cost in kinds]),
        overhead=of("overhead_s", [cost.overhead_s / len(samples.parts) for cost in costs]),
        accumulate=of("accumulate_s", accumulates_s) if accumulates_s else None,
    )


def _largest(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if known else None


def _on_every_rank(ranks_s: Sequence[list[float] | None]) -> list[list[float]] | None:
    told = [rank_s for rank_s in ranks_s if rank_s is not None]
    return told if len(told) == len(ranks_s) else None
