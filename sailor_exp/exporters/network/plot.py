"""Samples and fit of links, as lines of text for a terminal and as a picture."""

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sailor_exp.errors import MissingPackageError
from sailor_exp.exporters.network.records import MeasuredLink
from sailor_exp.units import readable_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 60, 14
_MARGIN = 1.05
"""Factor from the values to the ends of the axis, so that a link of one bandwidth has an axis."""

_SAMPLE, _FIT, _BOTH = "o", "·", "●"


def in_text(link: MeasuredLink) -> str:
    """Return medians and fit over the sizes, both axes logarithmic: `o` measured, `·` fitted, `●` both in one place."""
    points, fit = link.fitted.points, link.fitted.fit
    column = _scale(points[0].size_bytes, points[-1].size_bytes, _WIDTH)
    sizes = [_at(points[0].size_bytes, points[-1].size_bytes, x / (_WIDTH - 1)) for x in range(_WIDTH)]
    fitted = [fit.gigabytes_per_s(size) for size in sizes]
    values = [point.gigabytes_per_s for point in points] + fitted
    low, high = min(values) / _MARGIN, max(values) * _MARGIN
    row = _scale(low, high, _HEIGHT)
    page = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for x, value in enumerate(fitted):
        page[row(value)][x] = _FIT
    for point in points:
        x, y = column(point.size_bytes), row(point.gigabytes_per_s)
        page[y][x] = _BOTH if page[y][x] in {_FIT, _BOTH} else _SAMPLE
    labels = {_HEIGHT - 1: f"{high:.3g}", 0: f"{low:.3g}"}
    lines = [f"{labels.get(y, ''):>8} ┤{''.join(page[y])}" for y in reversed(range(_HEIGHT))]
    first, last = readable_bytes(points[0].size_bytes), readable_bytes(points[-1].size_bytes)
    return "\n".join(
        [f"{'GB/s':>8}", *lines, f"{'':>8} └{'─' * _WIDTH}", f"{'':>10}{first}{last:>{_WIDTH - len(first)}}"]
    )


def _scale(low: float, high: float, cells: int) -> Callable[[float], int]:
    """Return a function from a value between low and high to its cell, on a logarithmic axis of so many cells."""
    length = math.log(high / low)

    def place(value: float) -> int:
        return min(cells - 1, max(0, round(math.log(value / low) / length * (cells - 1))))

    return place


def _at(low: float, high: float, share: float) -> float:
    return low * math.exp(share * math.log(high / low))


def as_png(title: str, links: Sequence[MeasuredLink]) -> bytes:
    """Return a picture of every sample, the medians with their intervals, and the fits: one panel per link.

    Raises MissingPackageError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(asked="the plot of the fits", package="matplotlib", extra="plot") from error
    figure = Figure(figsize=(6.0, 3.6 * len(links)), layout="constrained")
    figure.suptitle(title)
    for axes, link in zip(figure.subplots(len(links), squeeze=False)[:, 0], links, strict=True):
        _draw(axes, link)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _draw(axes: "Axes", link: MeasuredLink) -> None:
    points, fit = link.fitted.points, link.fitted.fit
    sizes = [point.size_bytes for point in points]
    for size in link.series.sizes:
        gigabytes = link.series.operation.bytes_on_the_link(size.size_bytes, len(size.seconds)) / 1e9
        rates = [gigabytes / seconds for seconds in size.slowest_s]
        axes.plot([size.size_bytes] * len(rates), rates, ".", color="0.75", markersize=3, zorder=1)
    axes.errorbar(
        sizes,
        [point.gigabytes_per_s for point in points],
        yerr=[point.gigabytes_per_s * (point.relative_half_width or 0.0) for point in points],
        fmt="o",
        capsize=2,
        label="median, 95 % interval",
        zorder=2,
    )
    line = [_at(sizes[0], sizes[-1], step / 200) for step in range(201)]
    axes.plot(line, [fit.gigabytes_per_s(size) for size in line], label="fit", zorder=3)
    axes.set(xscale="log", yscale="log", xlabel="bytes", ylabel="GB/s", title=fit.name)
    axes.legend()
