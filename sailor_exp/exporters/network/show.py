"""Shows the fits of links, their errors, and the slowdowns of overlap."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from sailor_exp.exporters.network.plot import in_text
from sailor_exp.exporters.network.records import MeasuredLink, NetworkRecords
from sailor_exp.units import readable_bytes, readable_seconds, readable_spread


def shown(measured: NetworkRecords) -> Iterator[RenderableType]:
    """Yield each link's sizes with the fitted bandwidths, a plot of both, and the coefficients of overlap."""
    for link in measured.links:
        yield _table(link)
        yield _summary(link)
        yield in_text(link)
    for ranks, slowdown in measured.slowdowns.items():
        yield (
            f"overlap of {ranks} ranks: coefficient {slowdown.coefficient:.3f}, the larger of product "
            f"{slowdown.product:.3f} and all-reduce {slowdown.all_reduce:.3f} "
            f"{readable_spread(slowdown.relative_half_width)}"
        )


def _table(link: MeasuredLink) -> Table:
    table = Table(title=f"{link.fitted.fit.name} ({link.kind})", title_justify="left")
    for column in ("size", "time", "measured GB/s", "fit GB/s", "off"):
        table.add_column(column, justify="right", no_wrap=True)
    for point, residual in zip(link.fitted.points, link.fitted.residuals, strict=True):
        table.add_row(
            readable_bytes(point.size_bytes),
            readable_seconds(point.median_s),
            f"{point.gigabytes_per_s:.3g} {readable_spread(point.relative_half_width)}",
            f"{residual.fitted:.3g}",
            f"{100 * residual.relative:+.1f}%",
        )
    return table


def _summary(link: MeasuredLink) -> str:
    fit, largest = link.fitted.fit, link.fitted.largest
    floor_note = "; a floor holds it above 0" if link.fitted.constrained else ""
    return (
        f"GB/s = {fit.a:.4g} x^2 + {fit.b:.4g} x + {fit.c:.4g}, x = log2(bytes / 1e6){floor_note}. "
        f"Most off at {readable_bytes(largest.size_bytes)}: {100 * largest.relative:+.1f}%. "
        f"Highest measured: {link.fitted.max_bytes_per_s / 1e9:.3g} GB/s."
    )
