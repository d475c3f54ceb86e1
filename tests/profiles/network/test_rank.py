"""The rank sides of profile=network and profile=overlap: clocks, transfers and devices are told what to say."""

import threading
from contextlib import contextmanager

import pytest
import torch

from sailor_exp.config.schema import Device
from sailor_exp.instruments.sampling import StoppingRule, sample
from sailor_exp.profiles.faults import faults, one_machine_faults
from sailor_exp.profiles.network import rank
from sailor_exp.profiles.network.operations import Operation
from sailor_exp.profiles.network.rank import NetworkRank, SizeSampling, expected
from sailor_exp.profiles.network.rank_transfers import Transfer
from sailor_exp.profiles.overlap.rank import Counts, Rounds, counts
from sailor_exp.profiles.overlap.rank_work import Kind, Streams, Threads, Timed, Work
from tests.build.cells import cell
from tests.build.link_records import network_cell, overlap_cell


class Alone:
    def maximum(self, values):
        return list(values)


class Quiet:
    def __init__(self):
        self.said = []

    def progress(self, phase, steps=0):
        self.said.append(phase)

    def entering(self, phase):
        self.said.append(phase)


class ToldClock:
    """Stands still but when something tells it that time has passed."""

    def __init__(self):
        self.now_s = 0.0

    def now(self):
        return self.now_s

    def wait(self):
        return

    def seconds(self, interval):
        return interval.stop - interval.start


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
    measured = SizeSampling(prepared, clock, Alone()).sampled(Operation.ring, network_cell(*QUICK), Quiet())
    assert measured.repeats == repeats
    assert measured.seconds == pytest.approx([seconds] * 6)
    assert len(runs) == 3 + 6 * repeats
    assert measured.converged


def test_sizes_that_would_take_longer_than_the_budget_are_left_out_with_what_they_would_take(monkeypatch):
    """A link of 1 MB/s: 64 KiB take 66 ms, and with twice the size twice as long."""
    clock, voice = ToldClock(), Quiet()
    asked = network_cell(*QUICK, "sampling.budget_s=1", "profile.most_bytes=1048576")
    monkeypatch.setattr(rank, "clock_for", lambda _: clock)
    monkeypatch.setattr(rank, "RankAgreement", lambda _: Alone())
    monkeypatch.setattr(rank, "prepare", lambda _, size, __: transfer(clock, size / 1e6, size)[0])
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    measured = NetworkRank(asked, torch.device("cpu"), voice).measure(asked, None)
    ring = [size for size in measured.measured if size.operation is Operation.ring]
    assert [size.size_bytes for size in ring] == [2**16, 2**17]
    left_out = [size for size in measured.left_out if size.operation is Operation.ring]
    assert [size.size_bytes for size in left_out] == [2**18, 2**19, 2**20]
    assert left_out[0].expected_s == pytest.approx(6 * 2**18 / 1e6)
    assert {size.operation for size in measured.measured} == {
        Operation.ring, Operation.all_reduce, Operation.all_gather, Operation.reduce_scatter
    }  # fmt: skip
    assert "ring 64.0 KiB" in voice.said
    assert measured.end.interface == "lo"


def test_what_is_expected_counts_the_warm_up_and_the_least_samples():
    assert expected(1.0, cell(*QUICK)) == 6
    assert expected(0.0, cell(*QUICK)) == pytest.approx(6 * rank.LEAST_SAMPLE_S)


class FakeTogether:
    """A product takes 1 ms and an all-reduce 4; under the other one 1.5 and 1.25 times as long."""

    method = "threads"

    def __init__(self):
        self.runs = []

    def run(self, kind, count, others=0):
        self.runs.append((kind, count, others))
        alone_s = {Kind.product: 0.001, Kind.all_reduce: 0.004}
        slower = {Kind.product: 1.5, Kind.all_reduce: 1.25}[kind] if others else 1.0
        lasts_s = count * alone_s[kind] * slower
        return Timed(seconds=lasts_s, outlasted=others * alone_s[kind.other] >= lasts_s)


def test_each_kind_is_timed_alone_and_while_four_times_as_much_of_the_other_runs():
    together = FakeTogether()
    found = counts(together, Alone(), Device.cpu)
    assert found == Counts(products=10, all_reduces=3, outlasting_products=48, outlasting_all_reduces=10)
    rounds = Rounds(together, found, Alone())
    sample(rounds, Alone(), StoppingRule(overlap_cell(*QUICK).sampling, 0.03), lambda *_: None)
    assert together.runs[-4:] == [
        (Kind.product, 10, 0), (Kind.all_reduce, 3, 0), (Kind.all_reduce, 3, 48), (Kind.product, 10, 10)
    ]  # fmt: skip
    assert rounds.product_alone_s == pytest.approx([0.001] * 6)
    assert rounds.product_together_s == pytest.approx([0.0015] * 6)
    assert rounds.all_reduce_together_s == pytest.approx([0.005] * 6)
    assert rounds.outlasted == 12


def work(log, clock, seconds):
    def action(kind):
        def run():
            log.append(kind)
            clock.now_s += seconds[kind]

        return run

    return Work(rows=1, width=1, product=action(Kind.product), all_reduce=action(Kind.all_reduce))


def test_on_cuda_the_outlasting_kind_is_launched_first_and_each_kind_has_events_in_its_own_stream(monkeypatch):
    log, clock = [], ToldClock()
    streams = {"computing": object()}

    class Stream:
        def __init__(self):
            streams["communicating"] = self

        def wait_stream(self, other):
            assert other is streams["computing"]
            log.append("waits")

    @contextmanager
    def entered(stream):
        log.append(next(name for name, each in streams.items() if each is stream))
        yield

    monkeypatch.setattr(torch.cuda, "current_stream", lambda: streams["computing"])
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    together = Streams(work(log, clock, {Kind.product: 1.0, Kind.all_reduce: 2.0}), clock)
    timed = together.run(Kind.all_reduce, 2, 3)
    assert log == ["waits", "computing", *[Kind.product] * 3, "communicating", *[Kind.all_reduce] * 2]
    assert timed == Timed(seconds=4.0, outlasted=False), "the products ended before: by this clock nothing overlaps"
    assert together.run(Kind.product, 1).seconds == 1.0


def test_on_a_cpu_both_run_at_the_same_time_and_an_error_of_the_other_thread_is_told():
    both = threading.Barrier(2, timeout=10)

    def meet():
        both.wait()

    together = Threads(Work(rows=1, width=1, product=meet, all_reduce=meet), ToldClock())
    assert together.run(Kind.product, 3, 3).seconds == 0
    assert together.run(Kind.all_reduce, 2, 2).seconds == 0

    def fail():
        raise RuntimeError("Connection closed by peer")

    together = Threads(Work(rows=1, width=1, product=lambda: None, all_reduce=fail), ToldClock())
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        together.run(Kind.product, 1, 1)


def test_a_group_that_cannot_be_is_a_fault_before_anything_starts():
    assert faults(network_cell(ranks=2)) == []
    assert faults(network_cell(ranks=1, nodes=2)) == []
    assert "nobody to send to" in faults(network_cell(ranks=1))[0]
    assert "give 1 or 2" in faults(network_cell(ranks=2, nodes=3))[0]
    assert "nobody to all-reduce with" in faults(overlap_cell(ranks=1))[0]
    assert faults(network_cell(ranks=8)) == ["ranks=8 need 8 GPUs in one machine; vm=4 has 4. Choose a larger vm."]
    assert faults(overlap_cell("nodes=2")) == ["nodes=2: profile=overlap has no use for it; leave it out"]
    assert faults(network_cell("tp=2")) == ["tp=2: profile=network has no use for it; leave it out"]
    assert faults(cell("profile.most_bytes=4")) == [
        "profile.most_bytes=4: profile=layers has no use for it; leave it out"
    ]
    assert "no power of two" in faults(network_cell("profile.least_bytes=600", "profile.most_bytes=1000"))[0]
    assert "must be at least 8" in faults(network_cell("profile.least_bytes=4"))[0]


def test_two_machines_of_gpus_are_not_one():
    assert one_machine_faults([network_cell(nodes=2)]) == []
    (fault,) = one_machine_faults([network_cell("gpu=a100-40", nodes=2)])
    assert "needs 2 machines, and this is one. Measure with hydra/launcher=slurm." in fault
