"""Runs steps until the interval is narrow enough. All ranks run the same steps, and stop at the same one."""

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sailor_exp.config.schema import SamplingConfig
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

    Sampling stops at `max_steps`, when the budget is spent, or when the interval of batch medians of the calibrated
    step is within the target.
    """

    sampling: SamplingConfig
    target: float
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
        """Return the relative half-width of the interval of the calibrated step, None below two steps."""
        if not self._steps:
            return None
        steps_s = [step.step_s for step in self._steps]
        return relative_half_width(calibrated(steps_s, [step.calibration_s for step in self._steps]))


class Steps(Protocol):
    """The steps of one cell on one rank."""

    def calibrate(self) -> None:
        """Run the calibration kernel of the next step."""

    def run(self, number: int) -> StepTimes:
        """Run step `number`, counted from 0."""


def sample(steps: Steps, agreement: Agreement, rule: StoppingRule, progress: Callable[[str, int], None]) -> None:
    """Run steps until the rule has enough; the first `warmup` of them do not count.

    Just before each step the ranks agree on the times of the former step, so that they enter the step together.

    progress: receives the phase and the number of steps done in it.
    """
    warmup = rule.sampling.warmup
    deadline = math.inf
    number = 0
    last = StepTimes(step_s=0.0, calibration_s=0.0)
    while True:
        steps.calibrate()
        late = float(time.monotonic() > deadline)
        step_s, calibration_s, over_budget = agreement.maximum([last.step_s, last.calibration_s, late])
        if number > warmup:
            rule.add(StepTimes(step_s=step_s, calibration_s=calibration_s))
            if rule.enough(over_budget=bool(over_budget)):
                return
        elif number == warmup:
            deadline = time.monotonic() + rule.sampling.budget_s
        last = steps.run(number)
        number += 1
        progress("warm-up" if number <= warmup else "sampling", number if number <= warmup else number - warmup)


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
