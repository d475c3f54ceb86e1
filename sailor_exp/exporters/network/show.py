"""Shows the fits of links, their errors, and the slowdowns of overlap."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table

from sailor_exp.exporters.network.bandwidth_files import Pair
from sailor_exp.exporters.network.checkout import CONSTANTS, PRICE
from sailor_exp.exporters.network.derivation import Derivation
from sailor_exp.exporters.network.plot import in_text
from sailor_exp.exporters.network.records import MeasuredLink, NetworkRecords
from sailor_exp.units import readable_bytes, readable_seconds, readable_spread

_MOST_NAMES = 3


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


def shown_derivation(path: Path, gpu: str, derivation: Derivation) -> Iterator[str]:
    """Yield what was derived in a file, what stayed though the rule says otherwise, and the pairs without a fit."""
    kinds = {
        "derived by the published rule, not measured": derivation.derived,
        "kept, though the published rule gives another fit": derivation.differing,
        "that are holes, since no fit for them follows": derivation.holes,
    }
    for what, pairs in kinds.items():
        if pairs:
            yield f"{path.name}, {gpu}: {len(pairs)} pairs {what}: {_named(_links(pairs))}"


def shown_gaps(path: Path, gpus_by_zone: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the GPUs that zones of a file lack: the simulator takes every zone to have every GPU."""
    every = dict.fromkeys(gpu for gpus in gpus_by_zone.values() for gpu in gpus)
    zones_by_lacking: dict[str, list[str]] = {}
    for zone, gpus in gpus_by_zone.items():
        zones_by_lacking.setdefault(", ".join(gpu for gpu in every if gpu not in gpus), []).append(zone)
    holes = [f"no {lacking} in {', '.join(zones)}" for lacking, zones in zones_by_lacking.items() if lacking]
    if holes:
        yield f"{path.name}: holes, since the simulator takes every zone to have every GPU: {'; '.join(holes)}"


def shown_lines(root: Path, lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines that a user must add to the constants of a checkout."""
    if not lines:
        return
    price = f", with your price in place of {PRICE}" if any(PRICE in line for line in lines) else ""
    yield f"Sailor's planners end in KeyError without these lines. Add them at the end of {root / CONSTANTS}{price}:"
    yield from lines


def _links(pairs: Iterable[Pair]) -> list[str]:
    """Name the zones and GPUs of pairs, each once, without the counts."""
    names = (f"{a.gpu} in {a.zone} to {b.gpu} in {b.zone}" for a, b in pairs)
    return list(dict.fromkeys(names))


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return "; ".join(names[:_MOST_NAMES]) + (f"; and {more} more" if more > 0 else "")


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
