from collections.abc import Sequence

from sailor_exp.config.schema import Device, SamplingConfig
from sailor_exp.instruments.sampling import LEAST_WARMUP_S, StepTimes, StoppingRule, sample
from tests.build.fake_instruments import Alone


class WithASlowerPeer:
    def maximum(self, values: Sequence[float]) -> list[float]:
        return [values[0] + 1.0, *values[1:]]


class PeerOutOfTime:
    def maximum(self, values: Sequence[float]) -> list[float]:
        return [*values[:2], 1.0]


class Recorded:
    """Steps whose times are given by their number."""

    def __init__(self, step_s, calibration_s):
        self.calls = []
        self._step_s, self._calibration_s = step_s, calibration_s

    def calibrate(self):
        self.calls.append("calibrate")

    def run(self, number):
        self.calls.append(number)
        return StepTimes(step_s=self._step_s(number), calibration_s=self._calibration_s(number))


def steps_run(rule, agreement, step_s=lambda number: 1.0, calibration_s=lambda number: 1.0):
    steps, heard = Recorded(step_s, calibration_s), []
    sample(steps, agreement, rule, lambda phase, count: heard.append((phase, count)))
    return [call for call in steps.calls if call != "calibrate"], heard


def rule(target=0.03, **settings):
    return StoppingRule(SamplingConfig(**settings), target)


def test_steady_steps_stop_at_the_least_count_after_the_warm_up():
    numbers, heard = steps_run(rule(warmup=3, min_steps=16), Alone())
    assert numbers == list(range(19))
    assert heard[:3] == [("warm-up", 1), ("warm-up", 2), ("warm-up", 3)]
    assert heard[-1] == ("sampling", 16)


def test_warm_up_steps_do_not_count():
    settled = rule(warmup=3, min_steps=16)
    steps_run(settled, Alone(), step_s=lambda number: 50.0 if number < 3 else 1.0)
    assert settled.half_width() == 0.0


def test_unsteady_steps_stop_at_the_largest_count_unconverged():
    unsettled = rule(max_steps=40)
    numbers, _ = steps_run(unsettled, Alone(), step_s=lambda number: 1.0 + (number // 5 % 2))
    assert len(numbers) == 3 + 40
    assert not unsettled.converged()


def test_steps_that_follow_the_machine_converge_by_calibration():
    drifting = rule()
    numbers, _ = steps_run(drifting, Alone(), lambda number: 1.0 + number / 10, lambda number: 1.0 + number / 10)
    assert len(numbers) == 3 + 16
    assert drifting.converged()


def test_the_kernels_own_noise_is_left_out_of_the_interval():
    steady = rule(max_steps=40)
    numbers, _ = steps_run(steady, Alone(), lambda number: 1.0 + number % 2 / 100, lambda number: 1 + number // 5 % 2)
    assert len(numbers) == 3 + 16
    assert steady.converged()
    assert steady.calibrated() is False


def test_an_interval_says_that_it_is_calibrated():
    drifting = rule()
    steps_run(drifting, Alone(), lambda number: 1.0 + number / 10, lambda number: 1.0 + number / 10)
    assert drifting.calibrated() is True
    assert rule().calibrated() is None


def test_a_ratio_to_the_calibration_is_never_left_out():
    ratio = StoppingRule(SamplingConfig(max_steps=40), 0.03, always_calibrated=True)
    numbers, _ = steps_run(ratio, Alone(), calibration_s=lambda number: 1 + number // 5 % 2)
    assert len(numbers) == 3 + 40
    assert (ratio.converged(), ratio.calibrated()) == (False, True)


class Warming:
    """A clock on which each step takes a tenth of a second, and the first two a second."""

    def __init__(self, monkeypatch):
        self.now_s = 0.0
        monkeypatch.setattr("sailor_exp.instruments.sampling.time.monotonic", lambda: self.now_s)

    def step_s(self, number):
        self.now_s += 0.1 if number >= 2 else 1.0
        return 1.0


def test_a_gpu_is_warm_when_ordinary_steps_have_run_for_half_a_second(monkeypatch):
    steps, heard = Recorded(Warming(monkeypatch).step_s, lambda number: 1.0), []
    least_s = LEAST_WARMUP_S[Device.cuda]
    steps_rule = rule(warmup=3, min_steps=16)
    warmup = sample(steps, Alone(), steps_rule, lambda *told: heard.append(told), least_warmup_s=least_s)
    assert warmup == 2 + 5
    assert heard[6:8] == [("warm-up", 7), ("sampling", 1)]
    assert len(steps_rule._steps) == 16


def test_steps_that_were_asked_for_are_enough_where_they_take_longer(monkeypatch):
    steps = Recorded(Warming(monkeypatch).step_s, lambda number: 1.0)
    assert sample(steps, Alone(), rule(warmup=9), lambda *_: None, least_warmup_s=0.5) == 9


def test_all_ranks_warm_up_until_the_last_is_warm(monkeypatch):
    class ColdPeer:
        looks = 0

        def maximum(self, values):
            self.looks += 1
            return [*values[:2], max(values[2], float(self.looks <= 10))]

    steps = Recorded(Warming(monkeypatch).step_s, lambda number: 1.0)
    assert sample(steps, ColdPeer(), rule(warmup=3), lambda *_: None, least_warmup_s=0.5) == 10


def test_a_cpu_warms_up_for_the_steps_that_are_asked_for():
    assert LEAST_WARMUP_S[Device.cpu] == 0
    assert sample(Recorded(lambda _: 1.0, lambda _: 1.0), Alone(), rule(warmup=3), lambda *_: None) == 3


def test_all_ranks_stop_when_one_is_out_of_time():
    numbers, _ = steps_run(rule(), PeerOutOfTime())
    assert len(numbers) == 3 + 1, "the step that was under way counts"


def test_the_rule_sees_the_slowest_rank():
    slowest = rule(max_steps=16)
    steps_run(slowest, WithASlowerPeer())
    assert {step.step_s for step in slowest._steps} == {2.0}


def test_few_steps_are_not_called_converged():
    cut_short = rule(min_steps=16)
    cut_short.add(StepTimes(step_s=1.0, calibration_s=1.0))
    cut_short.add(StepTimes(step_s=1.0, calibration_s=1.0))
    assert cut_short.half_width() == 0.0
    assert not cut_short.converged()


def test_ranks_agree_after_the_calibration_and_right_before_each_step():
    steps = Recorded(lambda number: 1.0, lambda number: 1.0)

    class Noted:
        def maximum(self, values):
            steps.calls.append("agree")
            return list(values)

    sample(steps, Noted(), rule(warmup=2, min_steps=8), lambda phase, count: None)
    order = steps.calls[:-2]
    assert order[:6] == ["calibrate", "agree", 0, "calibrate", "agree", 1]
    assert len(order) == 3 * 10
    assert steps.calls[-2:] == ["calibrate", "agree"], "the last look comes after the last step"


def test_the_budget_counts_from_the_end_of_the_warm_up(monkeypatch):
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr("sailor_exp.instruments.sampling.time.monotonic", lambda: float(next(now)))
    numbers, _ = steps_run(rule(warmup=3, budget_s=35.0), Alone())
    assert len(numbers) == 3 + 4
