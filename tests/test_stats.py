import random
import statistics

import pytest

from sailor_exp import stats
from sailor_exp.errors import NoSamplesError


def test_a_step_takes_as_long_as_its_slowest_rank():
    assert stats.slowest_rank([[1.0, 5.0], [3.0, 2.0]]) == [3.0, 5.0]


def test_skew_is_the_median_gap_between_slowest_and_fastest_rank():
    assert stats.rank_skew([[1.0, 5.0, 2.0], [3.0, 2.0, 2.5]]) == 2.0


@pytest.mark.parametrize("samples", [[], [[]], [[1.0], []]])
def test_a_rank_without_samples_is_an_error(samples):
    with pytest.raises(NoSamplesError):
        stats.slowest_rank(samples)
    with pytest.raises(NoSamplesError):
        stats.rank_skew(samples)


def test_ranks_with_different_numbers_of_steps_are_an_error():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        stats.slowest_rank([[1.0, 2.0], [1.0]])


def test_the_trimmed_mean_drops_a_tenth_on_either_side():
    assert stats.trimmed_mean([100.0, *[2.0] * 8, -50.0]) == 2.0
    assert stats.trimmed_mean([1.0, 4.0]) == 2.5


def test_trimmed_means_of_parts_add_up_where_medians_come_out_low():
    generator = random.Random(7)
    parts = [[generator.expovariate(1.0) for _ in range(4000)] for _ in range(10)]
    total = statistics.fmean(sum(step) for step in zip(*parts, strict=True))
    by_median = sum(stats.median(part) for part in parts)
    by_trimmed_mean = sum(stats.trimmed_mean(part) for part in parts)
    assert by_median < by_trimmed_mean < total
    assert total - by_trimmed_mean < 0.6 * (total - by_median)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = random.Random(3)
    covered = 0
    for _ in range(400):
        samples = [generator.gauss(10.0, 1.0) for _ in range(64)]
        width = stats.relative_half_width(samples)
        medians = [statistics.median(samples[start : start + 8]) for start in range(0, 64, 8)]
        centre = statistics.fmean(medians)
        covered += abs(centre - 10.0) <= width * centre
    assert 0.92 <= covered / 400 <= 0.98


def test_there_is_no_interval_for_one_step():
    assert stats.relative_half_width([1.0]) is None
    assert stats.relative_half_width([1.0, 1.0]) == 0.0


def test_every_step_falls_into_one_batch():
    for count in range(2, 60):
        batches = stats._batches(list(range(count)), min(8, count))
        assert [step for batch in batches for step in batch] == list(range(count))
        assert all(batches)


def test_calibration_takes_a_slow_spell_of_the_machine_out():
    assert stats.calibrated([1.0, 1.0, 2.0], [0.1, 0.1, 0.2]) == pytest.approx([1.0, 1.0, 1.0])
