import math

import pytest

from sailor_exp.config.peaks import Peak
from sailor_exp.config.work import LARGEST_CACHE_BYTES, Pass, Work
from sailor_exp.exporters.plausible.rating import Verdict, rated, shares
from sailor_exp.profiles.identity import identity_of
from tests.build.cells import cell

PEAK = Peak(flops_per_s={"fp32": 1e12, "tf32": 8e12}, bytes_per_s=1e11, source="this test")
COMPUTES = Work(flops=10**12, passes=(Pass(size=10**9),))
"""One second of arithmetic in fp32, a hundredth of memory."""
CACHED = Work(flops=0, passes=(Pass(size=10**8),))
"""A millisecond of memory, and in a cache."""
COPIES = Work(flops=0, passes=(Pass(size=LARGEST_CACHE_BYTES + 10**11),))
"""One second of memory beyond any cache."""


@pytest.mark.parametrize(
    ("work", "seconds", "precision", "verdict"),
    [
        (COMPUTES, 0.99, "fp32", Verdict.above),
        (COMPUTES, 1.01, "fp32", None),
        (COMPUTES, 9.9, "fp32", None),
        (COMPUTES, 10.1, "fp32", Verdict.slow),
        (COMPUTES, 0.99, "tf32", None),
        (COMPUTES, 0.12, "tf32", Verdict.above),
        (COPIES, 0.99, "fp32", Verdict.above),
        (COPIES, 1.01, "fp32", None),
        (COPIES, 10.1, "fp32", Verdict.slow),
        (CACHED, 0.00011, "fp32", None),
        (CACHED, 0.00009, "fp32", Verdict.above),
        (COMPUTES, 0.0, "fp32", Verdict.above),
    ],
)
def test_a_time_is_above_the_peak_or_ten_times_slower_than_both_limits(
    work: Work, seconds: float, precision: str, verdict: Verdict | None
) -> None:
    assert rated(work, seconds, PEAK, precision).verdict is verdict


def test_shares_are_rates_over_those_of_the_data_sheet() -> None:
    rating = rated(COMPUTES, 2.0, PEAK, "fp32")
    assert (rating.flops_per_s, rating.bytes_per_s) == (0.5e12, 0.5e9)
    assert (rating.share_of_peak, rating.share_of_bandwidth, rating.times_its_limit) == (0.5, 0.005, 2.0)
    assert rated(CACHED, 0.002, PEAK, "fp32").share_of_peak is None, (
        "a part without products has no share of their peak"
    )
    assert rated(COMPUTES, 0.0, PEAK, "fp32").share_of_peak == math.inf


def test_without_a_peak_there_is_a_rate_and_neither_share_nor_verdict() -> None:
    rating = rated(COMPUTES, 1e-9, None, "fp32")
    assert rating.flops_per_s == 1e21
    assert {rating.share_of_peak, rating.share_of_bandwidth, rating.times_its_limit, rating.verdict} == {None}


def test_a_precision_that_the_gpu_lacks_is_judged_by_the_memory_alone() -> None:
    rating = rated(COMPUTES, 1e6, PEAK, "bf16")
    assert (rating.share_of_peak, rating.times_its_limit, rating.verdict) == (None, None, None)
    assert rated(COMPUTES, 0.0005, PEAK, "bf16").verdict is Verdict.above
    assert rated(COPIES, 10.1, PEAK, "bf16").verdict is Verdict.slow, "nothing is computed, so memory is both limits"


def test_a_record_has_shares_for_the_phases_whose_work_is_known() -> None:
    identity = identity_of(cell("model=opt-350", "gpu=a100-40", "tp=1", "mbs=1"))
    head = shares(identity, "head", "forward", 0.004508)
    assert head["share_of_peak"] == pytest.approx(46.8 / 19.5, rel=1e-3)
    update = shares(identity, "embedding", "update", 0.002938)
    assert update == {"share_of_peak": None, "share_of_bandwidth": pytest.approx(28 * 53608448 / 0.002938 / 1555e9)}
    nothing = {"share_of_peak": None, "share_of_bandwidth": None}
    assert shares(identity, "head", "overhead", 0.001) == nothing
    assert shares(identity_of(cell("model=opt-350", "gpu=cpu")), "head", "forward", 0.001) == nothing


def test_a_record_whose_model_has_a_key_of_a_later_version_has_no_shares() -> None:
    identity = identity_of(cell("gpu=a100-40"))
    later = identity.model_copy(update={"model": {**identity.model, "number_of_experts": 8}})
    assert shares(later, "head", "forward", 0.001) == {"share_of_peak": None, "share_of_bandwidth": None}
