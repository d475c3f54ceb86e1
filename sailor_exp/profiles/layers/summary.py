"""Computes the statistics of a record from the samples of its cell.

Legend: T ranks, N steps, warm-up first.
"""

from collections.abc import Sequence

from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.instruments.sampling import StepTimes, StoppingRule
from sailor_exp.profiles.layers.costs import StepCost, counting, launch_seconds, step_costs, step_seconds
from sailor_exp.profiles.layers.measurement import LAUNCH_BOUND, KindStatistics, Samples, Statistics, Timing
from sailor_exp.stats import median, rank_skew, relative_half_width, slowest_rank, trimmed_mean


def statistics_of(cell: Cell, samples: Samples) -> Statistics:
    """Return the statistics of the steps after the warm-up."""
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
        calibrated=rule.calibrated(),
        step=timing(slowest_s, skew_s=rank_skew(step_s)),
        kinds={kind: _kind_statistics(samples, costs, kind) for kind in costs[0].kinds},
    )


def timing(steps_s: Sequence[float], *, skew_s: float) -> Timing:
    """Return the statistics of a series of steps."""
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

    def phase(times: str, steps_s: Sequence[float]) -> Timing:
        return _with_launch(of(times, steps_s), launch_seconds(samples, kind, times), samples.warmup)

    kinds = [cost.kinds[kind] for cost in costs]
    accumulates_s = [cost.accumulate_s for cost in kinds if cost.accumulate_s is not None]
    return KindStatistics(
        forward=phase("forward_s", [cost.forward_s for cost in kinds]),
        backward=phase("backward_s", [cost.backward_s for cost in kinds]),
        update=phase("update_s", [cost.update_s for cost in kinds]),
        overhead=of("overhead_s", [cost.overhead_s / len(samples.parts) for cost in costs]),
        accumulate=of("accumulate_s", accumulates_s) if accumulates_s else None,
    )


def _with_launch(phase: Timing, launches_s: Sequence[float] | None, warmup: int) -> Timing:
    if launches_s is None:
        return phase
    launch_s = median(launches_s[warmup:])
    return phase.model_copy(update={"launch_s": launch_s, "launch_bound": phase.median_s <= LAUNCH_BOUND * launch_s})
