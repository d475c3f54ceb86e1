"""The rank side of profile=overlap: clocks and devices are told what to say."""

import threading
from contextlib import contextmanager

import pytest
import torch

from sailor_exp.config.schema import Device
from sailor_exp.instruments.sampling import StoppingRule, sample
from sailor_exp.profiles.overlap import rank
from sailor_exp.profiles.overlap.rank import Counts, Rounds, counts
from sailor_exp.profiles.overlap.rank_work import Kind, Streams, Threads, Timed, Work
from tests.build.fake_instruments import Alone, ToldClock, Voice
from tests.build.link_records import overlap_cell

QUICK = ("sampling.warmup=2", "sampling.min_steps=4", "sampling.max_steps=4")


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


def test_the_interval_is_that_of_the_slowdown_whatever_is_narrower(monkeypatch):
    """Times together alone may hold steadier than their ratio to those alone, which is what is asked."""
    rules = []

    class StoppedError(Exception):
        pass

    def sampled(steps, agreement, rule, progress):
        rules.append(rule)
        raise StoppedError

    monkeypatch.setattr(rank, "sample", sampled)
    monkeypatch.setattr(rank, "work_on", lambda *_: None)
    monkeypatch.setattr(rank, "together_on", lambda *_: FakeTogether())
    monkeypatch.setattr(rank, "RankAgreement", lambda _: Alone())
    with pytest.raises(StoppedError):
        rank.OverlapRank(overlap_cell(*QUICK), torch.device("cpu"), Voice()).measure(overlap_cell(*QUICK))
    assert [rule.always_calibrated for rule in rules] == [True]


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
