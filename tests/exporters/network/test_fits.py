import itertools

import pytest

from sailor_exp.errors import FitError
from sailor_exp.exporters.network.fits import Fit

PUBLISHED = [
    Fit(name="A100-40 inter 4", a=-0.03667895496478979, b=0.4773282044079026, c=4.5592610071684785),
    Fit(name="A100-40 intra 2", a=0.80818532, b=16.40103598, c=32.98046678),
    Fit(name="V100-16 inter 1", a=0.004408380557873316, b=0.046579932153075286, c=0.8793574711743694),
    Fit(name="straight", a=0.0, b=2.0, c=3.0),
]
SIZES = [2**power for power in range(35)]


@pytest.mark.parametrize("fit", PUBLISHED, ids=lambda fit: fit.name)
def test_a_larger_message_never_takes_less_time_than_a_smaller_one(fit: Fit) -> None:
    seconds = [fit.seconds(size) for size in SIZES]
    assert all(smaller <= larger for smaller, larger in itertools.pairwise(seconds))
    assert seconds[0] > 0


def test_a_message_that_the_fit_is_good_for_takes_its_size_over_the_fitted_bandwidth() -> None:
    fit = Fit(name="fit", a=0.0, b=2.0, c=10.0)
    assert fit.seconds(4e6) == pytest.approx(4e6 / 14e9)


def test_an_all_reduce_takes_two_steps_of_a_part_for_every_other_rank() -> None:
    fit = Fit(name="fit", a=0.0, b=2.0, c=10.0)
    assert fit.all_reduce_s(8e6, 4) == pytest.approx(6 * fit.seconds(2e6))
    assert fit.all_reduce_s(8e6, 1) == 0


def test_a_fit_that_falls_to_nothing_towards_large_messages_is_refused_there() -> None:
    fit = Fit(name="falling", a=0.0, b=-1.0, c=5.0)
    with pytest.raises(FitError, match="falling gives -5 GB/s for a message of 1024000000 bytes"):
        fit.seconds(1_024_000_000)
