"""The rank side of profile=network: clocks and transfers are told what to say."""

import pytest
import torch

from sailor_exp.profiles.network import rank
from sailor_exp.profiles.network.operations import Operation
from sailor_exp.profiles.network.rank import NetworkRank, SizeSampling, expected
from sailor_exp.profiles.network.rank_transfers import Transfer
from tests.build.cells import cell
from tests.build.fake_instruments import Alone, ToldClock, Voice
from tests.build.link_records import network_cell


def transfer(clock, seconds, size_bytes=65536):
    runs = []

    def run():
        runs.append(size_bytes)
        clock.now_s += seconds

    return Transfer(size_bytes=size_bytes, run=run), runs


QUICK = ("sampling.warmup=2", "sampling.min_steps=4", "sampling.max_steps=4")


@pytest.mark.parametrize(("seconds", "repeats"), [(0.0001, 20), (0.0019, 2), (0.1, 1), (1e-7, 200)])
def test_a_sample_of_a_small_message_is_many_in_a_row(seconds, repeats):
    clock = ToldClock()
    prepared, runs = transfer(clock, seconds)
    measured = SizeSampling(prepared, clock, Alone()).sampled(Operation.ring, network_cell(*QUICK), Voice())
    assert measured.repeats == repeats
    assert measured.seconds == [pytest.approx([seconds] * 6)]
    assert len(runs) == 3 + 6 * repeats
    assert measured.converged


def test_sizes_that_would_take_longer_than_the_budget_are_left_out_with_what_they_would_take(monkeypatch):
    """A link of 1 MB/s: 64 KiB take 66 ms, and with twice the size twice as long."""
    clock, voice = ToldClock(), Voice()
    asked = network_cell(*QUICK, "sampling.budget_s=1", "profile.most_bytes=1048576")
    monkeypatch.setattr(rank, "clock_for", lambda _: clock)
    monkeypatch.setattr(rank, "RankAgreement", lambda _: Alone())
    monkeypatch.setattr(rank, "prepare", lambda _, size, __: transfer(clock, size / 1e6, size)[0])
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    share = NetworkRank(asked, torch.device("cpu"), voice).measure(asked)
    ring = next(series for series in share.series if series.operation is Operation.ring)
    assert [size.size_bytes for size in ring.sizes] == [2**16, 2**17]
    assert [size.size_bytes for size in ring.left_out] == [2**18, 2**19, 2**20]
    assert ring.left_out[0].expected_s == pytest.approx(6 * 2**18 / 1e6)
    assert {series.operation for series in share.series if series.sizes} == {
        Operation.ring, Operation.all_reduce, Operation.all_gather, Operation.reduce_scatter
    }  # fmt: skip
    assert "ring 64.0 KiB" in voice.said
    assert share.end.interface == "lo"


def test_what_is_expected_counts_the_warm_up_and_the_least_samples():
    assert expected(1.0, cell(*QUICK)) == 6
    assert expected(0.0, cell(*QUICK)) == pytest.approx(6 * rank.LEAST_SAMPLE_S)
