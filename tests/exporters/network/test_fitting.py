import numpy as np
import pytest

from sailor_exp.errors import TooFewSizesError
from sailor_exp.exporters.network.fitting import FLOOR, disagreement, fit_link, parabola
from sailor_exp.profiles.network.measurement import Bandwidth

SIZES = [2**power for power in range(16, 31)]


def points(gigabytes_per_s, sizes=SIZES):
    """Bandwidths that a function gives for sizes."""
    return [
        Bandwidth(
            size_bytes=size,
            median_s=size / 1e9 / gigabytes_per_s(size),
            gigabytes_per_s=gigabytes_per_s(size),
            relative_half_width=0.01,
            converged=True,
            samples=16,
        )
        for size in sizes
    ]


def link(latency_s, bytes_per_s):
    """A link that takes a latency, and then its bytes at a constant rate."""
    return points(lambda size: size / 1e9 / (latency_s + size / bytes_per_s))


def test_a_parabola_comes_back_as_it_is():
    a, b, c = -0.02, 0.4, 5.0
    fitted = fit_link("link", points(lambda size: a * np.log2(size / 1e6) ** 2 + b * np.log2(size / 1e6) + c))
    assert (fitted.fit.a, fitted.fit.b, fitted.fit.c) == pytest.approx((a, b, c))
    assert not fitted.constrained
    assert abs(fitted.largest.relative) < 1e-9


@pytest.mark.parametrize(("latency_s", "bytes_per_s"), [(20e-6, 240e9), (100e-6, 240e9), (1e-3, 300e9)])
def test_a_fast_link_whose_usual_fit_is_negative_gets_one_that_is_positive_over_the_whole_range(latency_s, bytes_per_s):
    measured = link(latency_s, bytes_per_s)
    x, y = np.log2(np.array(SIZES) / 1e6), np.array([point.gigabytes_per_s for point in measured])
    assert min(np.polyval(np.polyfit(x, y, 2), x)) < 0
    fitted = fit_link("link", measured)
    between = np.exp(np.linspace(np.log(SIZES[0]), np.log(SIZES[-1]), 1000))
    floor = FLOOR * min(y)
    assert min(fitted.fit.gigabytes_per_s(size) for size in between) >= floor * (1 - 1e-6)


SHAPES = {
    "valley": lambda x: 1.0 + 0.3 * (x - 3.0) ** 2,
    "rising": lambda x: 1.0 + 2.0 * (x + 4.0),
    "falling": lambda x: 1.0 + 2.0 * (10.0 - x),
    "hill": lambda x: 1.0 + 0.4 * (x + 4.0) * (10.0 - x),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_other_parabola_above_the_floor_is_nearer(shape):
    """Against random parabolas around the best one: the problem is convex, so a better one would be among them."""
    random = np.random.default_rng(0)
    x = np.linspace(-4, 10, 15)
    y = SHAPES[shape](x) * random.uniform(0.9, 1.1, 15)
    inside = np.linspace(x.min(), x.max(), 2001)
    floor = 1.5 * float(y.min())
    best, constrained = parabola(x, y, floor=floor, high=float(x.max()))
    assert constrained
    assert np.polyval(best, inside).min() == pytest.approx(floor, abs=1e-3)

    others = [np.array(best) + random.normal(0, size, 3) for size in (1e-3, 1e-2, 1e-1) for _ in range(1000)]
    feasible = [other for other in others if np.polyval(other, inside).min() >= floor]
    assert len(feasible) > 20
    assert min(disagreement(other, x, y) for other in feasible) >= disagreement(best, x, y) - 1e-4


def test_a_link_that_was_measured_up_to_1_mib_and_falls_is_positive_up_to_what_planners_ask():
    """GB/s that fall by one a doubling from 6: a line would be at 0 before 8 MiB."""
    few = [2**power for power in range(16, 21)]
    fitted = fit_link("link", points(lambda size: 6.0 - np.log2(size / 2**16), few))
    assert fitted.constrained
    assert min(fitted.fit.gigabytes_per_s(2**power) for power in range(16, 29)) >= FLOOR * 2.0 - 1e-6


def test_one_slow_size_does_not_drag_the_others_down():
    fitted = fit_link("link", points(lambda size: 0.05 if size == 2**17 else 1.0))
    others = [residual.relative for residual in fitted.residuals if residual.size_bytes > 2**18]
    assert max(abs(each) for each in others) < 0.5
    assert fitted.largest.size_bytes == 2**17


def test_twice_as_much_and_half_as_much_count_alike():
    x, y = np.array([0.0]), np.array([3.0])
    assert disagreement((0, 0, 6), x, y) == pytest.approx(disagreement((0, 0, 1.5), x, y))
    assert disagreement((0, 0, 3), x, y) == 0


def test_the_largest_residual_is_named_by_its_size():
    measured = points(lambda size: 20.0 if size == 2**20 else 10.0)
    largest = fit_link("link", measured).largest
    assert largest.size_bytes == 2**20
    assert largest.measured == 20
    assert largest.relative == pytest.approx(largest.fitted / 20 - 1)
    assert largest.relative < -0.3


def test_the_highest_bandwidth_is_that_of_the_measurements():
    assert fit_link("link", points(lambda size: 2.0 + (size == 2**20))).max_bytes_per_s == pytest.approx(3e9)


def test_two_sizes_are_too_few():
    with pytest.raises(TooFewSizesError, match=r"the intra fit has 2 sizes; a fit needs 3\. Measure it again with"):
        fit_link("intra fit", points(lambda _: 1.0, SIZES[:2]))
