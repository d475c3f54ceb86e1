"""Fits the bandwidth of a link over the size of its messages, as Sailor reads it; positive at every measured size.

With x = log2(bytes / 1e6) the bandwidth is a x^2 + b x + c in units of 1e9 bytes/s (eth-easl/sailor, sailor/profiling/
networking/fit_func.py, which is numpy.polyfit of degree 2). The fit is the parabola that minimises the sum over the
sizes of r + 1/r, with r = fitted / measured, among those that stay above a floor from the least measured size to the
largest one or to `LARGEST_MESSAGE_BYTES`, whichever is larger. docs/decisions.md ("Fits") gives the reason for the
sum, docs/gathering.md that for the floor.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sailor_exp.errors import TooFewSizesError
from sailor_exp.exporters.network.fits import LARGEST_MESSAGE_BYTES, Fit
from sailor_exp.profiles.network.measurement import Bandwidth

LEAST_SIZES = 3

FLOOR = 0.5
"""Share of the least measured bandwidth: the floor of a fit."""

_TURNS = 200
_ITERATIONS, _HALVINGS = 200, 40
_ROUNDING = 1e-9

Array = NDArray[np.float64]
Coefficients = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Residual:
    """Measured and fitted bandwidth of one size, in units of 1e9 bytes/s."""

    size_bytes: int
    measured: float
    fitted: float

    @property
    def relative(self) -> float:
        """Error of the fit, relative to the measurement."""
        return self.fitted / self.measured - 1.0


@dataclass(frozen=True, kw_only=True)
class FittedLink:
    """A fit with its measured points. `constrained`: whether the floor changed the fit."""

    fit: Fit
    points: tuple[Bandwidth, ...]
    constrained: bool

    @property
    def max_bytes_per_s(self) -> float:
        """Highest measured bandwidth, for planners that use no fit."""
        return max(point.gigabytes_per_s for point in self.points) * 1e9

    @property
    def entry(self) -> tuple[Coefficients, float]:
        """The fit as an entry of the files: its coefficients and the highest measured bandwidth, in bytes/s."""
        return (self.fit.a, self.fit.b, self.fit.c), self.max_bytes_per_s

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
        """Residual with the largest relative error."""
        return max(self.residuals, key=lambda residual: abs(residual.relative))


def fit_link(name: str, points: Sequence[Bandwidth]) -> FittedLink:
    """Fit the bandwidths of one link. Raises TooFewSizesError for fewer than three sizes."""
    sizes = sorted({point.size_bytes for point in points})
    if len(sizes) < LEAST_SIZES:
        raise TooFewSizesError(name, sizes=sizes, needed=LEAST_SIZES)
    x = np.log2(np.array([point.size_bytes for point in points], dtype=np.float64) / 1e6)
    y = np.array([point.gigabytes_per_s for point in points], dtype=np.float64)
    reach = max(math.log2(LARGEST_MESSAGE_BYTES / 1e6), float(x.max()))
    (a, b, c), constrained = parabola(x, y, floor=FLOOR * float(y.min()), high=reach)
    return FittedLink(
        fit=Fit(name=name, a=a, b=b, c=c),
        points=tuple(sorted(points, key=lambda point: point.size_bytes)),
        constrained=constrained,
    )


def parabola(x: Array, y: Array, *, floor: float, high: float) -> tuple[Coefficients, bool]:
    """Return the best coefficients at or above `floor` from min(x) to `high`, and whether the floor changed them.

    The sum and the set of such parabolas are convex, so the best one either needs no floor or touches it: at one end,
    at both, or at its turning point inside. The last case is a search for the turning point.
    """
    low = float(x.min())
    a, b, c = _weights([x**2, x, np.ones_like(x)], y, np.zeros_like(y), [0.0, 0.0, float(y.mean())])
    if _lowest((a, b, c), low, high) >= floor:
        return (a, b, c), False
    touching = [*_at_an_end(x, y, low, high, floor), _turning(x, y, low, high, floor)]
    allowed = [coefficients for coefficients in touching if _lowest(coefficients, low, high) >= floor * (1 - _ROUNDING)]
    return min(allowed, key=lambda coefficients: disagreement(coefficients, x, y)), True


def disagreement(coefficients: Coefficients, x: Array, y: Array) -> float:
    """Return the sum of r + 1/r - 2 over the sizes, r = fitted / measured; infinite where an r is not positive."""
    ratios = np.polyval(coefficients, x) / y
    return float(np.sum(ratios + 1.0 / ratios - 2.0)) if ratios.min() > 0 else math.inf


def _at_an_end(x: Array, y: Array, low: float, high: float, floor: float) -> Iterator[Coefficients]:
    """Yield the best parabolas that touch the floor at one end, and at both; elsewhere they may be below it."""
    base = np.full_like(y, floor)
    for end in (low, high):
        a, b = _weights([(x - end) ** 2, x - end], y, base, [0.0, 0.0])
        yield a, b - 2 * a * end, floor + a * end**2 - b * end
    (a,) = _weights([(x - low) * (x - high)], y, base, [0.0])
    yield a, -a * (low + high), floor + a * low * high


def _turning(x: Array, y: Array, low: float, high: float, floor: float) -> Coefficients:
    """Return the best parabola that turns at the floor: a search of turning points, and a finer one around the best."""

    def at(turn: float) -> Coefficients:
        (a,) = _weights([(x - turn) ** 2], y, np.full_like(y, floor), [0.0])
        return max(a, 0.0), -2 * max(a, 0.0) * turn, floor + max(a, 0.0) * turn**2

    best, step = low, (high - low) / _TURNS
    for width in (high - low, 2 * step):
        turns = np.clip(np.linspace(best - width, best + width, 2 * _TURNS + 1), low, high).tolist()
        best = min(turns, key=lambda turn: disagreement(at(turn), x, y))
    return at(best)


def _weights(columns: Sequence[Array], y: Array, base: Array, start: Sequence[float]) -> list[float]:
    """Return the weights of columns that, added to a base, agree best with y: Newton's method from a positive start."""
    matrix, weights = np.stack(columns, axis=1), np.array(start)
    for _ in range(_ITERATIONS):
        fitted = base + matrix @ weights
        slope = matrix.T @ (1 / y - y / fitted**2)
        curvature = matrix.T @ (matrix * (2 * y / fitted**3)[:, None])
        step = np.linalg.lstsq(curvature, slope, rcond=None)[0]
        share = _share_of_step(lambda trial: base + matrix @ trial, weights, step, y)
        if share == 0.0:
            break
        weights = weights - share * step
    return [float(weight) for weight in weights]


def _share_of_step(fitted: Callable[[Array], Array], weights: Array, step: Array, y: Array) -> float:
    """Return the largest share 1, 1/2, 1/4, ... of the step that lowers the cost; 0 where none does."""

    def cost(values: Array) -> float:
        return float(np.sum(values / y + y / values)) if values.min() > 0 else math.inf

    present_cost = cost(fitted(weights))
    shares = (0.5**power for power in range(_HALVINGS))
    return next((share for share in shares if cost(fitted(weights - share * step)) < present_cost), 0.0)


def _lowest(coefficients: Coefficients, low: float, high: float) -> float:
    """Return the least value of a parabola between two points."""
    a, b, _ = coefficients
    turn = -b / (2 * a) if a > 0 else low
    return min(float(np.polyval(coefficients, at)) for at in (low, high, min(max(turn, low), high)))
