"""Runs steps until the interval is narrow enough. All ranks run the same steps, and stop at the same one."""

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sailor_exp.config.schema import Device, SamplingConfig
from sailor_exp.stats import calibrated, relative_half_width


class Voice(Protocol):
    """The rank's reports to its supervisor, which treats a rank without a report for `stall_s` as hung."""

    def progress(self, phase: str, steps: int = 0) -> None:
        """Report the phase and its steps to the supervisor."""

    def entering(self, phase: str) -> None:
        """Remember the phase without a report, in case it is the last one."""


class Agreement(Protocol):
    """Gives all ranks of a cell the same numbers."""

    def maximum(self, values: Sequence[float]) -> list[float]:
        """Return the elementwise maximum over the ranks, on all ranks at once, as a barrier does."""


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Seconds of one step on one rank, and of the calibration kernel before it."""

    step_s: float
    calibration_s: float


@dataclass
class StoppingRule:
    """Decides when to stop, from the slowest rank's steps. All ranks decide alike, from the same numbers.

    Sampling stops at `max_steps`, when the budget is spent, or when the interval of batch medians of the step is within
    the target. The step is calibrated unless that widens the interval: where steps do not follow the calibration
    kernel, dividing by it adds the kernel's own noise. always_calibrated: for steps whose ratio to the calibration is
    asked.
    """

    sampling: SamplingConfig
    target: float
    always_calibrated: bool = False
    _steps: list[StepTimes] = field(default_factory=list)

    def add(self, slowest: StepTimes) -> None:
        """Add a step that counts."""
        self._steps.append(slowest)

    def enough(self, *, over_budget: bool) -> bool:
        """Whether no further step is needed."""
        count = len(self._steps)
        if count >= self.sampling.max_steps or over_budget:
            return count > 0
        due = count >= self.sampling.min_steps and count % self.sampling.check_every == 0
        return due and self.converged()

    def converged(self) -> bool:
        """Whether the interval is within the target, after at least `min_steps` steps."""
        width = self.half_width()
        return len(self._steps) >= self.sampling.min_steps and width is not None and width <= self.target

    def half_width(self) -> float | None:
        """Return the relative half-width of the interval of the step, None below two steps."""
        plain, divided = self._half_widths()
        if plain is None or divided is None:
            return None
        return divided if self.always_calibrated else min(plain, divided)

    def calibrated(self) -> bool | None:
        """Whether `half_width` is that of the calibrated step, None below two steps."""
        plain, divided = self._half_widths()
        if plain is None or divided is None:
            return None
        return self.always_calibrated or divided <= plain

    def _half_widths(self) -> tuple[float | None, float | None]:
        """Return the relative half-widths of the step as it was and calibrated."""
        if not self._steps:
            return None, None
        steps_s = [step.step_s for step in self._steps]
        divided_s = calibrated(steps_s, [step.calibration_s for step in self._steps])
        return relative_half_width(steps_s), relative_half_width(divided_s)


class Steps(Protocol):
    """The steps of one cell on one rank."""

    def calibrate(self) -> None:
        """Run the calibration kernel of the next step."""

    def run(self, number: int) -> StepTimes:
        """Run step `number`, counted from 0."""


LEAST_WARMUP_S = {Device.cuda: 0.5, Device.cpu: 0.0}
"""Seconds of ordinary steps before the first one that counts: a GPU takes a while to raise its clocks."""

_SPECIAL_STEPS = 2
"""The first step creates the optimizer states, the second is watched."""


def sample(
    steps: Steps,
    agreement: Agreement,
    rule: StoppingRule,
    progress: Callable[[str, int], None],
    *,
    least_warmup_s: float = 0.0,
) -> int:
    """Run steps until the rule has enough; return how many of the first ones do not count.

    These are `warmup` steps, and more until ordinary steps have run for `least_warmup_s`. Just before each step the
    ranks agree on the times of the former step, so that they enter the step together.

    progress: receives the phase and the number of steps done in it.
    """
    warmup = _WarmUp(least_steps=rule.sampling.warmup, least_s=least_warmup_s)
    deadline = math.inf
    number = 0
    last = StepTimes(step_s=0.0, calibration_s=0.0)
    while True:
        steps.calibrate()
        own = time.monotonic() > deadline if warmup.over else warmup.cold()
        step_s, calibration_s, of_any_rank = agreement.maximum([last.step_s, last.calibration_s, float(own)])
        if warmup.over:
            rule.add(StepTimes(step_s=step_s, calibration_s=calibration_s))
            if rule.enough(over_budget=bool(of_any_rank)):
                return warmup.steps
        elif warmup.ends(number, cold=bool(of_any_rank)):
            deadline = time.monotonic() + rule.sampling.budget_s
        last = steps.run(number)
        number += 1
        warmup.ran(number)
        progress("sampling" if warmup.over else "warm-up", number - warmup.steps)


@dataclass
class _WarmUp:
    """The steps that do not count. `steps`: their number, 0 until it is known."""

    least_steps: int
    least_s: float
    steps: int = 0
    over: bool = False
    _until: float = 0.0

    def ran(self, number: int) -> None:
        """Note that `number` steps have run."""
        if number == _SPECIAL_STEPS and self.least_s:
            self._until = time.monotonic() + self.least_s

    def cold(self) -> bool:
        """Whether this rank has not run ordinary steps for long enough."""
        return bool(self.least_s) and time.monotonic() < self._until

    def ends(self, number: int, *, cold: bool) -> bool:
        """End the warm-up if `number` steps were enough, and return whether it ended. cold: whether any rank is."""
        if number < self.least_steps or (cold and self.least_s):
            return False
        self.steps, self.over = number, True
        return True


_REPORT_EVERY_S = 0.2


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Disable Python's collector during the steps: it would stop one rank while the others wait."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Throttled:
    """Passes progress on at most every `_REPORT_EVERY_S`, because each report writes to a pipe between steps."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._reported_at = 0.0

    def progress(self, phase: str, steps: int) -> None:
        """Report the phase if the last report is old enough."""
        if time.monotonic() - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = time.monotonic()
            self._voice.progress(phase, steps)
