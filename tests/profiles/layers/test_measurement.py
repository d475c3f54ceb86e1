from sailor_exp.profiles.layers.measurement import joined_samples, largest_memory, largest_part
from tests.build.measurements import part, share


def test_memory_is_that_of_the_largest_rank():
    small = share([part("head", "head", 1.0)], size=10, peak_bytes=70)
    large = share([part("head", "head", 1.0)], size=20, peak_bytes=60)
    memory = largest_memory([small.memory, large.memory])
    assert memory.kinds["head"].act_mem_bytes == 20
    assert memory.peak_bytes == 70
    assert memory.reserved_bytes is None


def test_the_allocators_figure_is_kept_where_there_is_one():
    ranks = [share([part("head", "head", 1.0)], reserved_bytes=bytes_) for bytes_ in (5, 7)]
    assert largest_memory([rank.memory for rank in ranks]).reserved_bytes == 7


def test_of_parts_of_one_kind_the_largest_counts_figure_by_figure():
    first, second = (share([part("head", "head", 1.0)], size=size).memory.kinds["head"] for size in (10, 20))
    found = largest_part([first.model_copy(update={"act_mem_bytes": 30}), second])
    assert (found.act_mem_bytes, found.params_bytes) == (30, 20)


def test_accumulating_is_told_apart_only_where_every_rank_does():
    told = part("head", "head", 1.0)
    untold = told.model_copy(update={"accumulate_s": None})
    first, second = (share([each]).samples for each in (told, untold))
    assert joined_samples([first, first]).parts[0].accumulate_s == [[1.0] * 5] * 2
    assert joined_samples([first, second]).parts[0].accumulate_s is None
