import pytest

from sailor_exp.profiles.network.measurement import LeftOut, bandwidths
from sailor_exp.profiles.network.operations import Operation
from sailor_exp.profiles.network.profile import network_of
from sailor_exp.profiles.overlap.measurement import slowdown
from sailor_exp.profiles.registry import profile_named
from sailor_exp.records import files as record_files
from sailor_exp.records import record
from sailor_exp.sweep.reuse import former
from tests.build.link_records import link_record, network_cell, overlap_cell, overlap_record, rate, series


@pytest.mark.parametrize(
    ("operation", "ranks", "gigabytes_per_s"),
    [
        (Operation.ring, 4, 2.0),
        (Operation.pairs, 8, 8.0),
        (Operation.all_reduce, 4, 3.0),
        (Operation.all_gather, 4, 1.5),
        (Operation.reduce_scatter, 4, 1.5),
    ],
)
def test_a_bandwidth_counts_what_the_link_carries(operation, ranks, gigabytes_per_s):
    found = bandwidths(series(operation, ranks, rate(2.0)))
    assert {round(point.gigabytes_per_s, 9) for point in found} == {gigabytes_per_s}


def test_the_slowest_rank_counts_and_the_warm_up_does_not():
    measured = series(Operation.ring, 2, rate(2.0), sizes=[2_000_000])
    (size,) = measured.sizes
    slower = size.model_copy(update={"seconds": [size.seconds[0], [7.0, 7.0] + [0.004] * 8]})
    (point,) = bandwidths(measured.model_copy(update={"sizes": [slower]}))
    assert point.median_s == 0.004
    assert point.gigabytes_per_s == pytest.approx(0.5)
    assert point.samples == 8


def test_the_overlap_coefficient_is_the_larger_of_the_two_slowdowns():
    found = slowdown(overlap_record(overlap_cell(), product=1.2, all_reduce=1.5).measurement)
    assert (found.product, found.all_reduce) == pytest.approx((1.2, 1.5))
    assert found.coefficient == pytest.approx(1.5)
    assert found.samples == 8


def test_an_overlap_that_was_measured_below_1_is_1_and_what_was_measured_stays():
    found = slowdown(overlap_record(overlap_cell(), product=0.9, all_reduce=0.95).measurement)
    assert found.coefficient == 1
    assert found.measured == pytest.approx(0.95)


def test_records_of_links_come_back_from_disk_as_they_were(tmp_path):
    record_files.prepare(tmp_path)
    made = [link_record(network_cell(), rate(1.0)), overlap_record(overlap_cell(), product=1.1, all_reduce=1.2)]
    names = [record_files.write(each, tmp_path).name for each in made]
    assert [each for _, each in record_files.read_all(tmp_path)] == made
    assert names[0].startswith("network_CPU_ranks2_nodes1_")
    assert names[1].startswith("overlap_CPU_ranks2_")


def test_a_link_is_known_as_well_as_its_worst_known_size():
    made = link_record(network_cell(), rate(1.0))
    assert profile_named("network").relative_half_width(made) == 0
    collective = network_of(made).series[1]
    unsteady = collective.sizes[0].model_copy(update={"seconds": [[1.0, 1.0, *range(1, 9)]] * 2})
    worse = collective.model_copy(update={"sizes": [unsteady, *collective.sizes[1:]]})
    series_of = [network_of(made).series[0], worse, *network_of(made).series[2:]]
    measurement = network_of(made).model_copy(update={"series": series_of})
    assert profile_named("network").relative_half_width(made.model_copy(update={"measurement": measurement})) > 0.3


def test_a_link_with_a_size_left_out_is_good_enough_for_its_own_budget_alone(tmp_path):
    made = link_record(network_cell(), rate(1.0))
    sizes = [made.measurement.series[0].model_dump() | {"left_out": [LeftOut(size_bytes=1, expected_s=9, budget_s=5)]}]
    lacking = made.measurement.model_dump() | {"series": sizes}
    content = made.model_dump() | {"measurement": lacking}
    content["provenance"]["sampling"] = {"max_steps": 100, "budget_s": 5.0, "target": 0.03}
    record_files.write(record.Record.model_validate(content), tmp_path)
    within, beyond = (
        network_cell(f"profile_dir={tmp_path}", f"sampling.budget_s={budget_s}", "sampling.max_steps=100")
        for budget_s in (5, 60)
    )
    assert former(within) is not None
    assert former(beyond) is None


def test_a_range_of_sizes_is_part_of_what_a_cell_is():
    few, many = (network_cell(f"profile.most_bytes={most}") for most in (2**20, 2**30))
    assert link_record(few, rate(1)).identity.digest != link_record(many, rate(1)).identity.digest
