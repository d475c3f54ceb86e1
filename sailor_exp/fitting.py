"""Fits the bandwidth of a link to the size of its messages, as Sailor reads it: positive wherever it was measured.

With x = log2(bytes / 1e6) the bandwidth is a x^2 + b x + c in units of 1e9 bytes/s (eth-easl/sailor, sailor/profiling/
networking/fit_func.py, which is numpy.polyfit of degree 2). An unconstrained parabola may turn negative inside the
range that it was fitted to, as the published A100-40 `intra` does below 0.21 MB, and a reader then computes negative
times. Here it is the parabola of least squares among those that stay above a floor everywhere between the least and the
largest size, and the squares are those of relative errors: an error of 1 GB/s is all for a small message and nothing
for a large one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sailor_exp.errors import TooFewSizesError
from sailor_exp.network_fit import Fit
from sailor_exp.network_samples import Bandwidth

LEAST_SIZES = 3
FLOOR = 0.5
"""Of the least bandwidth measured: a fit is nowhere in the measured range below that."""

_TURNS = 2001
_ROUNDING = 1e-9

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Residual:
    """What the fit gives for a size that was measured, and how far that is off, relative to the measurement."""

    size_bytes: int
    measured: float
    fitted: float

    @property
    def relative(self) -> float:
        return self.fitted / self.measured - 1.0


@dataclass(frozen=True, kw_only=True)
class FittedLink:
    """A fit with what it was made of. `constrained`: without the floor it would have been another."""

    fit: Fit
    points: tuple[Bandwidth, ...]
    constrained: bool

    @property
    def max_bytes_per_s(self) -> float:
        """Highest bandwidth measured: what planners without a fit take."""
        return max(point.gigabytes_per_s for point in self.points) * 1e9

    @property
    def residuals(self) -> list[Residual]:
        return [
            Residual(
                size_bytes=point.size_bytes,
                measured=point.gigabytes_per_s,
                fitted=self.fit.gigabytes_per_s(point.size_bytes),
            )
            for point in self.points
        ]

    @property
    def largest(self) -> Residual:
        """Residual that is relatively the largest."""
        return max(self.residuals, key=lambda residual: abs(residual.relative))


def fit_link(name: str, points: Sequence[Bandwidth]) -> FittedLink:
    """Fit the bandwidths of one link. Raises TooFewSizesError for fewer than three sizes."""
    sizes = sorted({point.size_bytes for point in points})
    if len(sizes) < LEAST_SIZES:
        raise TooFewSizesError(name, sizes=sizes, needed=LEAST_SIZES)
    x = np.log2(np.array([point.size_bytes for point in points], dtype=np.float64) / 1e6)
    y = np.array([point.gigabytes_per_s for point in points], dtype=np.float64)
    (a, b, c), constrained = parabola(x, y, floor=FLOOR * float(y.min()))
    return FittedLink(
        fit=Fit(name=name, a=a, b=b, c=c),
        points=tuple(sorted(points, key=lambda point: point.size_bytes)),
        constrained=constrained,
    )


def parabola(x: Array, y: Array, *, floor: float) -> tuple[tuple[float, float, float], bool]:
    """Return the coefficients of least relative squares that stay at or above `floor` from min(x) to max(x).

    And whether the floor holds them. The squares and the set of such parabolas are convex, so the best one either
    needs no floor or touches it: at one end, at both, or inside, where it turns. Each case is a linear problem; for
    the last one the turning point is searched for.
    """
    low, high = float(x.min()), float(x.max())
    a, b, c = _weights([x**2, x, np.ones_like(x)], y, 0.0)
    if _lowest((a, b, c), low, high) >= floor:
        return (a, b, c), False
    held = [each for each in _touching(x, y, low, high, floor) if _lowest(each, low, high) >= floor * (1 - _ROUNDING)]
    return min(held, key=lambda each: _squares(each, x, y)), True


def _touching(x: Array, y: Array, low: float, high: float, floor: float) -> Iterator[tuple[float, float, float]]:
    """Best parabolas that touch the floor, of each kind; some leave it elsewhere. The level line never does."""
    yield 0.0, 0.0, floor
    for end in (low, high):
        a, b = _weights([(x - end) ** 2, x - end], y, floor)
        yield a, b - 2 * a * end, floor + a * end**2 - b * end
    (a,) = _weights([(x - low) * (x - high)], y, floor)
    yield a, -a * (low + high), floor + a * low * high
    for turn in np.linspace(low, high, _TURNS).tolist():
        (a,) = _weights([(x - turn) ** 2], y, floor)
        yield a, -2 * a * turn, floor + a * turn**2


def _weights(columns: Sequence[Array], y: Array, offset: float) -> list[float]:
    """Weights of the columns which, added to an offset, have the least squares of relative errors."""
    solution = np.linalg.lstsq(np.stack(columns, axis=1) / y[:, None], (y - offset) / y, rcond=None)[0]
    return [float(weight) for weight in solution]


def _squares(coefficients: tuple[float, float, float], x: Array, y: Array) -> float:
    return float(np.sum((np.polyval(coefficients, x) / y - 1.0) ** 2))


def _lowest(coefficients: tuple[float, float, float], low: float, high: float) -> float:
    """Least value of a parabola between two points."""
    a, b, _ = coefficients
    turn = -b / (2 * a) if a > 0 else low
    return min(float(np.polyval(coefficients, at)) for at in (low, high, min(max(turn, low), high)))
