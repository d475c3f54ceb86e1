"""Compares predictions with the measured full model. Pure functions, without torch.

Legend: T ranks, N steps, S pipeline stages. The ranks of a stage are neighbours.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from sailor_exp.config.schema import Optimizer, Precision
from sailor_exp.profiles.check.measurement import (
    QUANTITIES,
    CheckMeasurement,
    Estimate,
    FullSamples,
    Prediction,
    Quantity,
    SignedError,
)
from sailor_exp.profiles.check.prediction import Iteration, KindBytes, iteration, peak_bytes
from sailor_exp.profiles.layers.costs import TIMES, counting, step_costs
from sailor_exp.profiles.layers.measurement import LayersMeasurement, Samples
from sailor_exp.records.record import Record
from sailor_exp.stats import median, relative_half_width, slowest_rank, trimmed_mean


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One predicted quantity beside the measured one, in seconds; `peak_bytes` is in bytes, and without intervals.

    `error`: predicted / measured - 1. Half-widths are those of 95 % intervals: relative, but absolute for the error.
    """

    source: str
    record: str | None
    quantity: str
    predicted: float
    predicted_half_width: float | None
    measured: float
    measured_half_width: float | None
    error: float
    error_half_width: float | None


PEAK = "peak_bytes"
COMPARED = (*QUANTITIES, PEAK)
"""Every quantity that is compared."""

_NAMES = {PEAK: "peak memory", "earlier": "earlier record"}


def quantity_name(row: Comparison) -> str:
    """Return the name of a row's quantity that people see."""
    return _NAMES.get(row.quantity, row.quantity)


def source_name(row: Comparison) -> str:
    """Return the name of a row's source that people see."""
    return _NAMES.get(row.source, row.source)


def comparisons(check: CheckMeasurement, predictions: Sequence[Prediction] | None = None) -> Iterator[Comparison]:
    """Yield rows to show, prediction by prediction; by default for the predictions of the record."""
    for prediction in check.predictions if predictions is None else predictions:
        for quantity in QUANTITIES:
            predicted, measured = prediction.seconds[quantity], check.measured[quantity]
            yield Comparison(
                source=prediction.source,
                record=prediction.record,
                quantity=quantity,
                predicted=predicted.value_s,
                predicted_half_width=predicted.relative_half_width,
                measured=measured.value_s,
                measured_half_width=measured.relative_half_width,
                error=prediction.errors[quantity].value,
                error_half_width=prediction.errors[quantity].half_width,
            )
        yield Comparison(
            source=prediction.source,
            record=prediction.record,
            quantity=PEAK,
            predicted=prediction.peak_bytes,
            predicted_half_width=None,
            measured=max(check.peak_bytes),
            measured_half_width=None,
            error=prediction.peak_error,
            error_half_width=None,
        )


def measured_iterations(full: FullSamples, stages: int) -> list[Iteration]:
    """Join the ranks, step by step: shape (N,).

    Forward, backward and update of a stage are those of its rank with the slowest step, as in the chain.
    """
    ranks, steps = len(full.total_s), len(full.total_s[0])
    per_stage = ranks // stages
    iterations = []
    for step in range(steps):
        slowest = [
            max(range(stage * per_stage, (stage + 1) * per_stage), key=lambda rank: full.total_s[rank][step])
            for stage in range(stages)
        ]
        iterations.append(
            Iteration(
                total_s=max(full.total_s[rank][step] for rank in slowest),
                forward_s=sum(full.forward_s[rank][step] for rank in slowest),
                backward_s=sum(full.backward_s[rank][step] for rank in slowest),
                update_s=max(full.update_s[rank][step] for rank in slowest),
            )
        )
    return iterations


def predicted_iterations(
    chain: Samples, stages: Sequence[Sequence[str]], num_microbatches: int, *, staged: bool = False
) -> list[Iteration]:
    """Predict an iteration from every step that counts: shape (N - warmup,), so that the prediction has an interval.

    staged: whether the samples are of the ranks of all stages, and each stage uses its own; else all use the same.
    """
    share = len(chain.calibration_s) // len(stages)
    groups = [_ranks(chain, start * share, (start + 1) * share) for start in range(len(stages))] if staged else [chain]
    costs = [step_costs(group)[chain.warmup :] for group in groups]
    by_stage = costs if staged else costs * len(stages)
    return [iteration(stages, step, num_microbatches) for step in zip(*by_stage, strict=True)]


def estimates(iterations: Sequence[Iteration], speed: float = 1.0) -> dict[Quantity, Estimate]:
    """Estimate each quantity from a series of iterations, whose seconds are multiplied by `speed`."""
    return {quantity: estimate([speed * s for s in _series(iterations, quantity)]) for quantity in QUANTITIES}


def estimate(steps_s: Sequence[float]) -> Estimate:
    """Estimate the seconds of a step."""
    return Estimate(
        value_s=trimmed_mean(steps_s),
        median_s=median(steps_s),
        relative_half_width=relative_half_width(steps_s),
    )


def interleaved(
    predicted: Sequence[Iteration], measured: Sequence[Iteration], *, predicted_peak: int, measured_peak: int
) -> Prediction:
    """Compare round by round: the interval of an error is over rounds, so that a drift of the machine cancels."""
    seconds = estimates(predicted)
    errors = _errors(seconds, estimates(measured))
    for quantity, error in errors.items():
        pairs = zip(_series(predicted, quantity), _series(measured, quantity), strict=True)
        width = relative_half_width([one_s / other_s for one_s, other_s in pairs])
        half_width = None if width is None else width * (1 + error.value)
        errors[quantity] = SignedError(value=error.value, half_width=half_width)
    return Prediction(
        source="interleaved",
        record=None,
        speed=1.0,
        seconds=seconds,
        errors=errors,
        peak_bytes=predicted_peak,
        peak_error=predicted_peak / measured_peak - 1,
    )


def earlier(check: CheckMeasurement, record: Record[LayersMeasurement]) -> Prediction:
    """Predict from an ok record of `profile=layers` of the same cell, at the present speed of the machine."""
    samples, counts = record.measured.samples, record.measured.memory.kinds
    speed = _speed(check.chain, samples)
    predicted = predicted_iterations(samples, check.stages, check.num_microbatches)
    seconds = estimates(predicted, speed)
    peak = peak_bytes(
        check.stages,
        {kind: kind_bytes(memory.model_dump()) for kind, memory in counts.items()},
        check.num_microbatches,
        Precision(str(record.identity.precision)),
        Optimizer(str(record.identity.optimizer)),
    )
    return Prediction(
        source="earlier",
        record=record.file_name,
        speed=speed,
        seconds=seconds,
        errors=_errors(seconds, check.measured),
        peak_bytes=peak,
        peak_error=peak / max(check.peak_bytes) - 1,
    )


def kind_bytes(counts: Mapping[str, int]) -> KindBytes:
    """Return what a prediction needs of the counts of a kind, which have the names of PartMemory."""
    return KindBytes(**{field.name: counts[field.name] for field in fields(KindBytes)})


def _errors(
    predicted: Mapping[Quantity, Estimate], measured: Mapping[Quantity, Estimate]
) -> dict[Quantity, SignedError]:
    """Return the errors; their intervals are those of two independent series."""
    errors = {}
    for quantity in QUANTITIES:
        one, other = predicted[quantity], measured[quantity]
        ratio = one.value_s / other.value_s
        widths = [one.relative_half_width, other.relative_half_width]
        known = [width for width in widths if width is not None]
        half_width = ratio * math.hypot(*known) if len(known) == len(widths) else None
        errors[quantity] = SignedError(value=ratio - 1, half_width=half_width)
    return errors


def _series(iterations: Sequence[Iteration], quantity: Quantity) -> list[float]:
    return [getattr(iteration, f"{quantity}_s") for iteration in iterations]


def _speed(now: Samples, then: Samples) -> float:
    """Return how many times as long the calibration kernel takes now; 1 where then it was another kernel."""
    alike = now.calibration.alike(then.calibration) if now.calibration is not None else then.calibration is None
    return _calibration_s(now) / _calibration_s(then) if alike else 1.0


def _calibration_s(samples: Samples) -> float:
    """Return the median seconds of the calibration kernel on the slowest rank, over the steps that count."""
    return median(slowest_rank(counting(samples, samples.calibration_s)))


def _ranks(samples: Samples, start: int, stop: int) -> Samples:
    """Return the samples of the ranks from `start` to before `stop`, without what no prediction uses."""
    parts = [
        part.model_copy(
            update={
                "launch": None,
                **{times: values[start:stop] for times in (*TIMES, "accumulate_s") if (values := getattr(part, times))},
            }
        )
        for part in samples.parts
    ]
    own = {"parts": parts, "calibration_s": samples.calibration_s[start:stop], "queued_s": None}
    return samples.model_copy(update=own)
