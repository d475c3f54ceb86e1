import pytest

from sailor_exp.summary import memory_of, samples_of, statistics_of
from tests.cells import cell
from tests.measurements import measurement, part

ASKED = cell("tp=2", "sampling.warmup=2")


def test_each_step_is_that_of_its_slowest_rank_and_the_warm_up_does_not_count():
    first = measurement([part("head", "head", [9.0, 9.0, 1.0, 4.0])])
    second = measurement([part("head", "head", [9.0, 9.0, 3.0, 2.0])])
    samples = samples_of(ASKED, [first, second])
    assert samples.parts[0].forward_s == [[9.0, 9.0, 1.0, 4.0], [9.0, 9.0, 3.0, 2.0]]
    found = statistics_of(ASKED, samples)
    assert found.steps == 2
    assert found.kinds["head"].forward.value_s == 3.5
    assert found.kinds["head"].forward.skew_s == 2.0


def test_layers_of_one_kind_stand_together_as_their_mean():
    ranks = [measurement([part("layer_1", "layer", 1.0), part("layer_2", "layer", 3.0)])] * 2
    found = statistics_of(ASKED, samples_of(ASKED, ranks))
    assert list(found.kinds) == ["layer"]
    assert found.kinds["layer"].backward.median_s == 2.0


def test_the_step_is_the_sum_of_all_phases_of_all_parts():
    ranks = [measurement([part("embedding", "embedding", 1.0), part("head", "head", 2.0)])] * 2
    assert statistics_of(ASKED, samples_of(ASKED, ranks)).step.value_s == 9.0


def test_memory_is_that_of_the_largest_rank():
    small = measurement([part("head", "head", 1.0)], size=10, peak_bytes=70)
    large = measurement([part("head", "head", 1.0)], size=20, peak_bytes=60)
    memory = memory_of([small, large])
    assert memory.kinds["head"].act_mem_bytes == 20
    assert memory.peak_bytes == 70
    assert memory.reserved_bytes is None


def test_the_allocators_figure_is_kept_where_there_is_one():
    ranks = [measurement([part("head", "head", 1.0)], reserved_bytes=bytes_) for bytes_ in (5, 7)]
    assert memory_of(ranks).reserved_bytes == 7


def test_ranks_that_did_not_run_the_same_steps_are_an_error():
    ranks = [measurement([part("head", "head", 1.0, steps=steps)]) for steps in (5, 6)]
    with pytest.raises(ValueError, match="argument 2"):
        statistics_of(ASKED, samples_of(ASKED, ranks))
