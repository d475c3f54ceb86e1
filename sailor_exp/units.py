"""The type of seconds, and texts of seconds and bytes for people."""

from typing import NewType

Seconds = NewType("Seconds", float)

MIB = 2**20
GIB = 2**30

_SECOND_STEPS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_BYTE_STEPS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def readable_seconds(seconds: float) -> str:
    """Return seconds with three significant digits and the unit that fits: `2.94 ms`."""
    scale, unit = next((step for step in _SECOND_STEPS if seconds >= step[0]), _SECOND_STEPS[-1])
    return f"{_three_digits(seconds / scale)} {unit}"


def readable_bytes(count: int) -> str:
    """Return bytes with three significant digits and a binary unit: `344 MiB`."""
    for scale, unit in _BYTE_STEPS:
        if count >= scale:
            return f"{_three_digits(count / scale)} {unit}"
    return f"{count} B"


def readable_spread(relative_half_width: float | None) -> str:
    """Return the half-width of an interval in percent: `±2.1%`; `±?` where it is unknown."""
    if relative_half_width is None:
        return "±?"
    percent = 100 * relative_half_width
    return f"±{percent:.1f}%" if percent < 10 else f"±{percent:.0f}%"  # noqa: PLR2004


def _three_digits(number: float) -> str:
    decimals = 2 if number < 10 else 1 if number < 100 else 0  # noqa: PLR2004
    return f"{number:.{decimals}f}"
