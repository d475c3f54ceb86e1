from collections.abc import Sequence

from sailor_exp.config.schema import SamplingConfig
from sailor_exp.instruments.sampling import StepTimes, StoppingRule, sample
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
