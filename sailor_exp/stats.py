"""Statistics of step times. The record keeps the raw samples, and the statistics are derived from them.

Iterations on a shared machine drift over seconds, so neighbouring samples are not independent: intervals are
taken over medians of consecutive batches, after the method of batch means (Law and Kelton, Simulation Modeling
and Analysis, 1982). Values that a planner adds up are trimmed means: sums of medians of right-skewed times
are too low.

Legend: T ranks, N steps.
"""

import itertools
import math
import statistics
from collections.abc import Sequence

from sailor_exp.errors import NoSamplesError
from sailor_exp.units import Seconds

BATCHES = 8
TRIM = 0.1

_T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646)
"""Student's t, 0.975 quantile, for 1 to 7 degrees of freedom."""


def slowest_rank(samples_s: Sequence[Sequence[float]]) -> list[Seconds]:
    """Return the time of the slowest rank at each step: shape (T, N) to (N,), in seconds.

    Raises NoSamplesError if a rank recorded no samples.
    """
    if not samples_s or not all(samples_s):
        raise NoSamplesError("a rank recorded no samples")
    return [Seconds(max(step)) for step in zip(*samples_s, strict=True)]


def rank_skew(samples_s: Sequence[Sequence[float]]) -> Seconds:
    """Return the median over steps of slowest minus fastest rank, in seconds. Samples have shape (T, N)."""
    if not samples_s or not all(samples_s):
        raise NoSamplesError("a rank recorded no samples")
    return Seconds(statistics.median(max(step) - min(step) for step in zip(*samples_s, strict=True)))


def trimmed_mean(samples_s: Sequence[float]) -> Seconds:
    """Return the mean without the lowest and the highest tenth, in seconds."""
    if not samples_s:
        raise NoSamplesError("no samples to take a mean of")
    ordered = sorted(samples_s)
    cut = int(len(ordered) * TRIM)
    return Seconds(statistics.fmean(ordered[cut : len(ordered) - cut]))


def median(samples_s: Sequence[float]) -> Seconds:
    """Return the median, in seconds."""
    if not samples_s:
        raise NoSamplesError("no samples to take a median of")
    return Seconds(statistics.median(samples_s))


def relative_half_width(samples: Sequence[float]) -> float | None:
    """Return the half-width of the 95 % interval of batch medians over their mean; None for fewer than two samples."""
    count = min(BATCHES, len(samples))
    if count < 2:  # noqa: PLR2004
        return None
    medians = [statistics.median(batch) for batch in _batches(samples, count)]
    mean = statistics.fmean(medians)
    half_width = _T_975[count - 2] * statistics.stdev(medians) / math.sqrt(count)
    return half_width / mean if mean > 0 else None


def calibrated(samples_s: Sequence[float], calibration_s: Sequence[float]) -> list[Seconds]:
    """Return samples at the machine's median speed: each is divided by the slowness of a fixed kernel at that time."""
    median_s = statistics.median(calibration_s)
    return [Seconds(sample * median_s / kernel_s) for sample, kernel_s in zip(samples_s, calibration_s, strict=True)]


def _batches(samples: Sequence[float], count: int) -> list[Sequence[float]]:
    borders = [round(index * len(samples) / count) for index in range(count + 1)]
    return [samples[start:stop] for start, stop in itertools.pairwise(borders)]
