import pytest

from sailor_exp.profiles.network.measurement import LeftOut, NetworkMeasurement, bandwidths, joined_series
from sailor_exp.profiles.network.operations import Operation
from sailor_exp.records import files as record_files
from tests.build.link_records import link_record, network_cell, rate, series


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


def test_what_ranks_send_of_a_series_stands_together_by_rising_rank_and_size():
    left_out = [LeftOut(size_bytes=4000, expected_s=9.0, budget_s=5.0)]
    first, second = (
        series(Operation.ring, 1, rate(speed), sizes=[1000, 2000]).model_copy(update={"left_out": left_out})
        for speed in (1.0, 2.0)
    )
    found = joined_series([first, second])
    assert [size.size_bytes for size in found.sizes] == [1000, 2000]
    assert [[rank[-1] for rank in size.seconds] for size in found.sizes] == [[1e-6, 0.5e-6], [2e-6, 1e-6]]
    assert found.left_out == left_out


def test_ranks_that_measured_other_sizes_than_each_other_are_an_error():
    shares = [series(Operation.ring, 1, rate(1.0), sizes=sizes) for sizes in ([1000, 2000], [1000])]
    with pytest.raises(ValueError, match="argument 2"):
        joined_series(shares)


def test_a_record_of_a_link_comes_back_from_disk_as_it_was(tmp_path):
    record_files.prepare(tmp_path)
    made = link_record(network_cell(), rate(1.0))
    name = record_files.write(made, tmp_path).name
    assert [each for _, each in record_files.read_all(tmp_path, "network", NetworkMeasurement)] == [made]
    assert name.startswith("network_CPU_ranks2_nodes1_")


def test_a_range_of_sizes_is_part_of_what_a_cell_is():
    few, many = (network_cell(f"profile.most_bytes={most}") for most in (2**20, 2**30))
    assert link_record(few, rate(1)).identity.digest != link_record(many, rate(1)).identity.digest
