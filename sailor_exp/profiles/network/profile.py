"""Results of `profile=network`: what a link carries by size, inside a machine or between two."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.network.link import link_of
from sailor_exp.profiles.network.measurement import (
    Bandwidth,
    LeftOut,
    NetworkMeasurement,
    Series,
    SizeSamples,
    bandwidths,
)
from sailor_exp.profiles.network.operations import FLOAT_BYTES, Operation, operations, sizes_bytes
from sailor_exp.profiles.network.payload import NetworkRankMeasurement
from sailor_exp.profiles.profile import Profile
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes, readable_spread

_MOST_NODES = 2

_LEAST_RANKS = 2


class NetworkProfile(Profile):
    """One group of ranks a cell; `nodes=2` has as many pairs as a machine has ranks."""

    name = "network"
    keys = ("ranks", "nodes")
    about_model = False
    columns = ("ranks", "nodes", "link", "size", "transfer", "all_reduce", "all_gather", "reduce_scatter")
    legend = (
        "GB/s (1e9 bytes) over the median time of the slowest rank, ± half-width of the 95 % interval of batch medians "
        "of that time. transfer: inside a machine from each rank to its next neighbour, all at once, on one link; "
        "between two from each rank of the first to its partner in the second, all pairs together. Collectives: bus "
        "bandwidth, of the whole vector. loopback: both machines are this one, and the numbers are of its memory."
    )

    def faults(self, cell: Cell) -> list[str]:
        found = []
        if cell.nodes > _MOST_NODES:
            found.append(f"nodes={cell.nodes}: profile=network measures inside one machine or between two; give 1 or 2")
        if cell.nodes == 1 and cell.ranks < _LEAST_RANKS:
            found.append("ranks=1 has nobody to send to in one machine. Give ranks=2 or more, or nodes=2.")
        least_bytes, needed = cell.profile.least_bytes, FLOAT_BYTES * cell.ranks * cell.nodes
        if least_bytes is None or least_bytes < needed:
            found.append(f"profile.least_bytes={least_bytes} must be at least {needed}: a number for each rank")
        if not sizes_bytes(cell):
            found.append(
                f"no power of two lies from profile.least_bytes={least_bytes} to "
                f"profile.most_bytes={cell.profile.most_bytes}"
            )
        return found

    def options(self, cell: Cell) -> dict[str, Any]:
        return {"least_bytes": cell.profile.least_bytes, "most_bytes": cell.profile.most_bytes}

    def content(self, cell: Cell, ranks: Sequence[NetworkRankMeasurement]) -> dict[str, Any]:
        ends = [ranks[machine * cell.ranks].end for machine in range(cell.nodes)]
        series = [_series(operation, ranks) for operation in operations(cell)]
        return {"measurement": NetworkMeasurement(link=link_of(ends, ranks[0].settings), series=series)}

    def relative_half_width(self, record: Record) -> float | None:
        """The widest: every size of every operation is to be known so well. None where one was left out."""
        measured = network_of(record).series
        if any(series.left_out for series in measured):
            return None
        widths = [size.relative_half_width for series in measured for size in series.sizes]
        known = [width for width in widths if width is not None]
        return max(known) if known and len(known) == len(widths) else None

    def one_line(self, record: Record) -> str:
        measured = network_of(record)
        points = bandwidths(measured.series[0])
        low, high = points[0], points[-1]
        said = f"{_rate(low)} at {readable_bytes(low.size_bytes)}, {_rate(high)} at {readable_bytes(high.size_bytes)}"
        left_out = sum(len(series.left_out) for series in measured.series)
        doubts = sum(not point.converged for series in measured.series for point in bandwidths(series))
        notes = [
            "loopback: of this machine's memory, no network's" if measured.link.kind == "loopback" else "",
            f"{doubts} sizes not converged" if doubts else "",
            f"{left_out} sizes left out" if left_out else "",
        ]
        return "; ".join([said, *filter(None, notes)])

    def rows(self, record: Record) -> Iterator[list[str]]:
        measured, identity = network_of(record), record.identity
        head = [str(identity.ranks), str(identity.nodes), measured.link.kind]
        for cells in zip_longest(*(_sizes(series) for series in measured.series), fillvalue=(0, "")):
            yield [*head, readable_bytes(cells[0][0]), *(text for _, text in cells)]
            head = ["", "", ""]


def network_of(record: Record) -> NetworkMeasurement:
    """Return what an ok record of this profile measured."""
    if not isinstance(record.measurement, NetworkMeasurement):
        raise TypeError(f"{record.file_name} is no record of a link")
    return record.measurement


def _series(operation: Operation, ranks: Sequence[NetworkRankMeasurement]) -> Series:
    """Join what the ranks measured of one operation, in the order in which all of them did."""
    by_rank = [[size for size in rank.measured if size.operation is operation] for rank in ranks]
    return Series(
        operation=operation,
        sizes=[
            SizeSamples(
                size_bytes=sizes[0].size_bytes,
                repeats=sizes[0].repeats,
                warmup=sizes[0].warmup,
                converged=sizes[0].converged,
                seconds=[size.seconds for size in sizes],
            )
            for sizes in zip(*by_rank, strict=True)
        ],
        left_out=[
            LeftOut(size_bytes=each.size_bytes, expected_s=each.expected_s, budget_s=each.budget_s)
            for each in ranks[0].left_out
            if each.operation is operation
        ],
    )


def _sizes(series: Series) -> Iterator[tuple[int, str]]:
    for point in bandwidths(series):
        text = f"{point.gigabytes_per_s:.3g} {readable_spread(point.relative_half_width)}"
        yield point.size_bytes, text if point.converged else f"[yellow]{text}[/]"
    for left_out in series.left_out:
        yield left_out.size_bytes, f"[yellow]left out, {left_out.expected_s:.3g} s[/]"


def _rate(point: Bandwidth) -> str:
    return f"{point.gigabytes_per_s:.3g} GB/s"


PROFILE = NetworkProfile()
