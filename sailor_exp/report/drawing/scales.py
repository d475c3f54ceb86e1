"""Scales, which turn numbers into places in a chart, and the ticks of their axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

_STEPS = (1, 2, 5, 10)


class Scale(Protocol):
    """An axis: the places of values, in pixels, and the values of its ticks."""

    def at(self, value: float) -> float:
        """Return the place of a value."""

    @property
    def ticks(self) -> list[float]:
        """Values of the ticks, from low to high."""


@dataclass(frozen=True, kw_only=True)
class LogScale:
    """A logarithmic scale between two positive values, drawn from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float
    ticks: list[float]

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.stop - self.start)


@dataclass(frozen=True, kw_only=True)
class LinearScale:
    """A linear scale from `low` to `high`, drawn from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float
    ticks: list[float]

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def log_scale(values: Sequence[float], *, start: float, stop: float) -> LogScale:
    """Return a scale from below to above the values, between 1, 2 or 5 times a power of ten.

    Ticks are all such multiples, or only the powers of ten where there are more than nine.
    """
    lowest, highest = min(values), max(values)
    decades = range(math.floor(math.log10(lowest)) - 1, math.ceil(math.log10(highest)) + 2)
    candidates = [step * 10.0**decade for decade, step in product(decades, _STEPS[:-1])]
    low = max(value for value in candidates if value <= lowest * 0.999)
    high = min(value for value in candidates if value >= highest * 1.001)
    within = [value for value in candidates if low <= value <= high]
    ticks = within if len(within) <= 9 else [value for value in within if _is_power_of_ten(value)]  # noqa: PLR2004
    return LogScale(low=low, high=high, start=start, stop=stop, ticks=ticks)


def microbatch_scale(microbatches: Sequence[int], *, start: float, stop: float, least_gap: float) -> LogScale:
    """Return a logarithmic scale with ticks at the microbatches that were measured, as many as have room."""
    low, high = float(min(microbatches)), float(max(microbatches))
    if low == high:
        low, high = low / 2, high * 2
    bare = LogScale(low=low, high=high, start=start, stop=stop, ticks=[])
    kept: list[float] = []
    for value in sorted(microbatches):
        if not kept or bare.at(value) - bare.at(kept[-1]) >= least_gap:
            kept.append(value)
    return LogScale(low=low, high=high, start=start, stop=stop, ticks=kept)


def linear_scale(highest: float, *, start: float, stop: float, lowest: float = 0, base: float = 10) -> LinearScale:
    """Return a scale from zero, or from a negative `lowest`, to `highest` or above, with about four round ticks.

    base: 2 for bytes, whose round numbers are powers of two.
    """
    step = _round_step((highest - lowest) / 4, base)
    first, last = math.floor(lowest / step), math.ceil(highest / step)
    ticks = [index * step for index in range(first, last + 1)]
    return LinearScale(low=ticks[0], high=ticks[-1], start=start, stop=stop, ticks=ticks)


def spread_out(places: Sequence[float], *, gap: float, lowest: float, highest: float) -> list[float]:
    """Return the places of labels at least `gap` apart, in the same order and, where there is room, within bounds."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = [min(max(places[index], lowest), highest) for index in order]
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + gap)
    if moved:
        moved[-1] = min(moved[-1], highest)
    for index in reversed(range(len(moved) - 1)):
        moved[index] = min(moved[index], moved[index + 1] - gap)
    result = [0.0] * len(places)
    for index, place in zip(order, moved, strict=True):
        result[index] = place
    return result


def _round_step(rough: float, base: float) -> float:
    if base == 2:  # noqa: PLR2004
        return float(2 ** math.ceil(math.log2(rough)))
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * 0.999)


def _is_power_of_ten(value: float) -> bool:
    exponent = math.log10(value)
    return abs(exponent - round(exponent)) < 1e-9  # noqa: PLR2004
