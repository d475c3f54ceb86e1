"""Results of `profile=overlap`: how much an all-reduce and a matrix product slow each other down."""

from collections.abc import Iterator, Sequence
from typing import Any

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.overlap.measurement import OverlapMeasurement, OverlapSamples, slowdown
from sailor_exp.profiles.overlap.payload import OverlapRankMeasurement
from sailor_exp.profiles.profile import Profile
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes, readable_spread

_LEAST_RANKS = 2


class OverlapProfile(Profile):
    """One group of ranks of one machine a cell."""

    name = "overlap"
    keys = ("ranks",)
    about_model = False
    columns = ("ranks", "by", "all-reduce", "product slower", "all-reduce slower", "coefficient", "rounds")
    legend = (
        "How many times longer each takes while the other runs: ratio of medians over the rounds, slowest rank. The "
        "coefficient is the larger one, ± half-width of the 95 % interval of its rounds, and 1 where that is below. "
        "threads: on a CPU the two share cores, not a device: such a coefficient says nothing about a GPU."
    )

    def faults(self, cell: Cell) -> list[str]:
        if cell.ranks < _LEAST_RANKS:
            return ["ranks=1 has nobody to all-reduce with; its coefficient is 1. Give ranks=2 or more."]
        return []

    def content(self, cell: Cell, ranks: Sequence[OverlapRankMeasurement]) -> dict[str, Any]:  # noqa: ARG002
        first = ranks[0]
        return {
            "measurement": OverlapMeasurement(
                method=first.method,
                product=first.product,
                all_reduce_bytes=first.all_reduce_bytes,
                warmup=first.warmup,
                converged=first.converged,
                outlasted=min(rank.outlasted for rank in ranks),
                samples=OverlapSamples(
                    product_alone_s=[rank.product_alone_s for rank in ranks],
                    all_reduce_alone_s=[rank.all_reduce_alone_s for rank in ranks],
                    product_together_s=[rank.product_together_s for rank in ranks],
                    all_reduce_together_s=[rank.all_reduce_together_s for rank in ranks],
                ),
            )
        }

    def relative_half_width(self, record: Record) -> float | None:
        return slowdown(overlap_of(record)).relative_half_width

    def one_line(self, record: Record) -> str:
        measured = overlap_of(record)
        found = slowdown(measured)
        doubt = "" if measured.converged else ", not converged"
        below = f" (measured {found.measured:.3f})" if found.measured < 1 else ""
        spread = readable_spread(found.relative_half_width)
        return f"coefficient {found.coefficient:.3f} {spread}{below}, by {measured.method}{doubt}"

    def rows(self, record: Record) -> Iterator[list[str]]:
        measured = overlap_of(record)
        found = slowdown(measured)
        spread = readable_spread(found.relative_half_width)
        yield [
            str(record.identity.ranks),
            measured.method,
            readable_bytes(measured.all_reduce_bytes),
            f"{found.product:.3f}",
            f"{found.all_reduce:.3f}",
            f"{found.coefficient:.3f} {spread}"
            if measured.converged
            else f"[yellow]{found.coefficient:.3f} {spread}[/]",
            str(found.samples),
        ]


def overlap_of(record: Record) -> OverlapMeasurement:
    """Return what an ok record of this profile measured."""
    if not isinstance(record.measurement, OverlapMeasurement):
        raise TypeError(f"{record.file_name} is no record of an overlap")
    return record.measurement


PROFILE = OverlapProfile()
