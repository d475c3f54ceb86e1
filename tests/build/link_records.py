"""Records of profile=network and profile=overlap, built in sight."""

from sailor_exp.profiles.network.measurement import Link, LinkEnd, NetworkMeasurement, Series, SizeSamples
from sailor_exp.profiles.network.operations import operations
from sailor_exp.profiles.overlap.measurement import OverlapMeasurement, OverlapSamples
from tests.build.cells import cell
from tests.build.records import ok, provenance

NOW = "2026-01-01T00:00:00+00:00"
SIZES = [2**power for power in range(16, 25)]


def network_cell(*overrides, ranks=2, nodes=1):
    return cell("profile=network", f"ranks={ranks}", f"nodes={nodes}", *overrides)


def overlap_cell(*overrides, ranks=2):
    return cell("profile=overlap", f"ranks={ranks}", *overrides)


def series(operation, ranks, seconds, sizes=SIZES):
    """Every sample of a size takes `seconds(size)` on each rank; the warm-up a hundred times that."""
    return Series(
        operation=operation,
        sizes=[
            SizeSamples(
                size_bytes=size,
                repeats=1,
                warmup=2,
                converged=True,
                seconds=[[100 * seconds(size)] * 2 + [seconds(size)] * 8 for _ in range(ranks)],
            )
            for size in sizes
        ],
        left_out=[],
    )


def link_record(of, seconds, *, finished_at=NOW, sizes=SIZES):
    """An ok record of a link on which a transfer of a size takes `seconds(size)`."""
    ends = [
        LinkEnd(host=f"host{node}", node=None, address=f"10.0.0.{node}", interface="eth0") for node in range(of.nodes)
    ]
    ranks = of.ranks * of.nodes
    measurement = NetworkMeasurement(
        link=Link(kind="inside" if of.nodes == 1 else "between", ends=ends, settings={}),
        series=[series(operation, ranks, seconds, sizes) for operation in operations(of)],
    )
    return ok(of, measurement, provenance(finished_at=finished_at))


def overlap_record(of, *, product, all_reduce, finished_at=NOW):
    """An ok record of a group in which the two take so many times longer together."""

    def times(seconds):
        return [[9.0] * 2 + [seconds] * 8 for _ in range(of.ranks)]

    measurement = OverlapMeasurement(
        method="streams",
        product=[1024, 4096, 4096],
        all_reduce_bytes=2**26,
        warmup=2,
        converged=True,
        outlasted=1.0,
        samples=OverlapSamples(
            product_alone_s=times(0.002),
            all_reduce_alone_s=times(0.004),
            product_together_s=times(0.002 * product),
            all_reduce_together_s=times(0.004 * all_reduce),
        ),
    )
    return ok(of, measurement, provenance(finished_at=finished_at))


def rate(gigabytes_per_s, pairs=1):
    """Seconds of a size on a link of so many GB/s, of all pairs together."""
    return lambda size: pairs * size / 1e9 / gigabytes_per_s
