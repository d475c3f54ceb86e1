"""`profile=network`: bandwidth of a link by size, inside a machine or between two."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, ClassVar

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.grids import Grid, groups_within, powers_up_to
from sailor_exp.profiles.network.link import link_of
from sailor_exp.profiles.network.measurement import (
    Bandwidth,
    NetworkMeasurement,
    NetworkShare,
    Series,
    bandwidths,
    joined_series,
)
from sailor_exp.profiles.network.operations import COLLECTIVES, FLOAT_BYTES, sizes_bytes
from sailor_exp.profiles.profile import Column, Profile
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes, readable_spread

_MOST_NODES = 2
_LEAST_RANKS = 2


class NetworkProfile(Profile[NetworkShare, NetworkMeasurement]):
    """One group of ranks a cell; `nodes=2` has as many pairs as a machine has ranks."""

    name = "network"
    method = 2
    schema = NetworkMeasurement
    keys = ("ranks", "nodes")
    about_model = False
    columns = (
        *map(Column, ("ranks", "nodes")),
        Column("link", "left"),
        *map(Column, ("size", "transfer", *(operation.value for operation in COLLECTIVES))),
    )
    legend = (
        "GB/s (1e9 bytes) over the median time of the slowest rank, ± half-width of the 95 % interval of batch medians "
        "of that time. transfer: inside a machine from each rank to its next neighbour, all at once, on one link; "
        "between two from each rank of the first to its partner in the second, all pairs together. Collectives: bus "
        "bandwidth, of the whole vector. loopback: both machines are this one, and the numbers are of its memory."
    )
    tidy_columns: ClassVar[Mapping[str, type]] = {
        "link": str,
        "operation": str,
        "size_bytes": int,
        "quantity": str,
        "value": float,
        "unit": str,
        "median_s": float,
        "relative_half_width": float,
        "count": int,
        "converged": bool,
        "message": str,
    }

    def faults(self, cell: Cell) -> list[str]:
        faults = []
        if cell.nodes > _MOST_NODES:
            faults.append(
                f"nodes={cell.nodes}: profile=network measures inside one machine or between two; give 1 or 2"
            )
        if cell.nodes == 1 and cell.ranks < _LEAST_RANKS:
            faults.append("ranks=1 has nobody to send to in one machine. Give ranks=2 or more, or nodes=2.")
        least_bytes, needed = cell.profile.least_bytes, FLOAT_BYTES * cell.ranks * cell.nodes
        if least_bytes is None or least_bytes < needed:
            faults.append(f"profile.least_bytes={least_bytes} must be at least {needed}: a number for each rank")
        if not sizes_bytes(cell):
            faults.append(
                f"no power of two lies from profile.least_bytes={least_bytes} to "
                f"profile.most_bytes={cell.profile.most_bytes}"
            )
        return faults

    def options(self, cell: Cell) -> dict[str, Any]:
        return {"least_bytes": cell.profile.least_bytes, "most_bytes": cell.profile.most_bytes}

    def measurement(self, cell: Cell, shares: Sequence[NetworkShare]) -> NetworkMeasurement:
        ends = [shares[machine * cell.ranks].end for machine in range(cell.nodes)]
        series = [joined_series(ranks) for ranks in zip(*(share.series for share in shares), strict=True)]
        return NetworkMeasurement(link=link_of(ends, shares[0].settings), series=series)

    def relative_half_width(self, measured: NetworkMeasurement) -> float | None:
        """Return the widest, because every size of every operation must meet the target; None if one was left out."""
        if any(series.left_out for series in measured.series):
            return None
        widths = [size.relative_half_width for series in measured.series for size in series.sizes]
        known = [width for width in widths if width is not None]
        return max(known) if known and len(known) == len(widths) else None

    def one_line(self, measured: NetworkMeasurement) -> str:
        points = bandwidths(measured.series[0])
        low, high = points[0], points[-1]
        rates = f"{_rate(low)} at {readable_bytes(low.size_bytes)}, {_rate(high)} at {readable_bytes(high.size_bytes)}"
        left_out = sum(len(series.left_out) for series in measured.series)
        doubts = sum(not point.converged for series in measured.series for point in bandwidths(series))
        notes = [
            "loopback: of this machine's memory, no network's" if measured.link.kind == "loopback" else "",
            f"{doubts} sizes not converged" if doubts else "",
            f"{left_out} sizes left out" if left_out else "",
        ]
        return "; ".join([rates, *filter(None, notes)])

    def rows(self, record: Record[NetworkMeasurement]) -> Iterator[list[str]]:
        measured, identity = record.measured, record.identity
        head = [str(identity.ranks), str(identity.nodes), measured.link.kind]
        for cells in zip_longest(*(_sizes(series) for series in measured.series), fillvalue=(0, "")):
            yield [*head, readable_bytes(cells[0][0]), *(text for _, text in cells)]
            head = ["", "", ""]

    def tidy(self, measured: NetworkMeasurement) -> Iterator[Mapping[str, Any]]:
        """Yield a row for each operation and size; sizes that were left out have a reason. `count`: the samples."""
        for series in measured.series:
            same = {
                "link": measured.link.kind,
                "operation": series.operation.value,
                "quantity": "bandwidth",
                "unit": "1e9 bytes/s",
            }
            for point in bandwidths(series):
                yield {
                    **same,
                    "size_bytes": point.size_bytes,
                    "value": point.gigabytes_per_s,
                    "median_s": point.median_s,
                    "relative_half_width": point.relative_half_width,
                    "count": point.samples,
                    "converged": point.converged,
                }
            for left_out in series.left_out:
                yield {**same, "size_bytes": left_out.size_bytes, "message": left_out.reason}

    def grids(self, vm: int) -> list[Grid]:
        """Return the pairs between two machines, and the groups inside one of several GPUs."""
        inside: list[Grid] = [{"ranks": groups_within(vm, least_ranks=_LEAST_RANKS)}] if vm > 1 else []
        return [{"nodes": [_MOST_NODES], "ranks": powers_up_to(vm)}, *inside]


def _sizes(series: Series) -> Iterator[tuple[int, str]]:
    for point in bandwidths(series):
        text = f"{point.gigabytes_per_s:.3g} {readable_spread(point.relative_half_width)}"
        yield point.size_bytes, text if point.converged else f"[yellow]{text}[/]"
    for left_out in series.left_out:
        yield left_out.size_bytes, f"[yellow]left out, {left_out.expected_s:.3g} s[/]"


def _rate(point: Bandwidth) -> str:
    return f"{point.gigabytes_per_s:.3g} GB/s"


PROFILE = NetworkProfile()
