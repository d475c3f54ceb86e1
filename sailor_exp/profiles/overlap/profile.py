"""`profile=overlap`: how much an all-reduce and a matrix product slow each other down."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.grids import Grid, groups_within
from sailor_exp.profiles.overlap.measurement import OverlapMeasurement, joined, slowdown
from sailor_exp.profiles.profile import Column, Profile
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes, readable_spread

_LEAST_RANKS = 2


class OverlapProfile(Profile[OverlapMeasurement, OverlapMeasurement]):
    """A cell is one group of ranks of one machine."""

    name = "overlap"
    method = 2
    schema = OverlapMeasurement
    keys = ("ranks",)
    about_model = False
    columns = (
        Column("ranks"),
        Column("by", "left"),
        *map(Column, ("all-reduce", "product slower", "all-reduce slower", "coefficient", "rounds")),
    )
    legend = (
        "How many times longer each takes while the other runs: ratio of medians over the rounds, slowest rank. The "
        "coefficient is the larger one, ± half-width of the 95 % interval of its rounds, and 1 where that is below. "
        "threads: on a CPU the two share cores, not a device: such a coefficient says nothing about a GPU."
    )
    tidy_columns: ClassVar[Mapping[str, type]] = {
        "by": str,
        "quantity": str,
        "value": float,
        "unit": str,
        "relative_half_width": float,
        "count": int,
        "converged": bool,
    }

    def faults(self, cell: Cell) -> list[str]:
        if cell.ranks < _LEAST_RANKS:
            return ["ranks=1 has nobody to all-reduce with; its coefficient is 1. Give ranks=2 or more."]
        return []

    def measurement(self, cell: Cell, shares: Sequence[OverlapMeasurement]) -> OverlapMeasurement:  # noqa: ARG002
        return joined(shares)

    def relative_half_width(self, measured: OverlapMeasurement) -> float | None:
        return slowdown(measured).relative_half_width

    def one_line(self, measured: OverlapMeasurement) -> str:
        overlap = slowdown(measured)
        doubt = "" if measured.converged else ", not converged"
        below = f" (measured {overlap.measured:.3f})" if overlap.measured < 1 else ""
        spread = readable_spread(overlap.relative_half_width)
        return f"coefficient {overlap.coefficient:.3f} {spread}{below}, by {measured.method}{doubt}"

    def rows(self, record: Record[OverlapMeasurement]) -> Iterator[list[str]]:
        measured = record.measured
        overlap = slowdown(measured)
        spread = readable_spread(overlap.relative_half_width)
        yield [
            str(record.identity.ranks),
            measured.method,
            readable_bytes(measured.all_reduce_bytes),
            f"{overlap.product:.3f}",
            f"{overlap.all_reduce:.3f}",
            f"{overlap.coefficient:.3f} {spread}"
            if measured.converged
            else f"[yellow]{overlap.coefficient:.3f} {spread}[/]",
            str(overlap.samples),
        ]

    def tidy(self, measured: OverlapMeasurement) -> Iterator[Mapping[str, Any]]:
        """Yield a row for each slowdown and one for the coefficient, which has the interval; `count`: the rounds."""
        overlap = slowdown(measured)
        same = {"by": measured.method, "unit": "1", "count": overlap.samples, "converged": measured.converged}
        figures = {
            "slowdown of the product": (overlap.product, None),
            "slowdown of the all-reduce": (overlap.all_reduce, None),
            "coefficient": (overlap.coefficient, overlap.relative_half_width),
        }
        for quantity, (value, half_width) in figures.items():
            yield {**same, "quantity": quantity, "value": value, "relative_half_width": half_width}

    def grids(self, vm: int) -> list[Grid]:
        """Return the groups inside a machine; the coefficient of one GPU is written beside that of any group."""
        return [{"ranks": groups_within(max(vm, _LEAST_RANKS), least_ranks=_LEAST_RANKS)}]


PROFILE = OverlapProfile()
