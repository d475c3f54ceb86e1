import pytest

from sailor_exp.profiles.overlap.measurement import OverlapMeasurement, joined, slowdown
from sailor_exp.records import files as record_files
from tests.build.link_records import overlap_cell, overlap_record


def test_the_overlap_coefficient_is_the_larger_of_the_two_slowdowns():
    found = slowdown(overlap_record(overlap_cell(), product=1.2, all_reduce=1.5).measured)
    assert (found.product, found.all_reduce) == pytest.approx((1.2, 1.5))
    assert found.coefficient == pytest.approx(1.5)
    assert found.samples == 8


def test_an_overlap_that_was_measured_below_1_is_1_and_what_was_measured_stays():
    found = slowdown(overlap_record(overlap_cell(), product=0.9, all_reduce=0.95).measured)
    assert found.coefficient == 1
    assert found.measured == pytest.approx(0.95)


def test_what_ranks_send_stands_together_with_the_least_share_that_the_other_kind_outlasted():
    one = overlap_cell(ranks=1)
    first = overlap_record(one, product=1.5, all_reduce=1.0).measured
    second = overlap_record(one, product=2.0, all_reduce=1.0).measured.model_copy(update={"outlasted": 0.5})
    found = joined([first, second])
    assert [rank[-1] for rank in found.samples.product_together_s] == [0.003, 0.004]
    assert found.outlasted == 0.5
    assert slowdown(found).product == pytest.approx(2.0)


def test_a_record_of_an_overlap_comes_back_from_disk_as_it_was(tmp_path):
    record_files.prepare(tmp_path)
    made = overlap_record(overlap_cell(), product=1.1, all_reduce=1.2)
    name = record_files.write(made, tmp_path).name
    assert [each for _, each in record_files.read_all(tmp_path, "overlap", OverlapMeasurement)] == [made]
    assert name.startswith("overlap_CPU_ranks2_")
