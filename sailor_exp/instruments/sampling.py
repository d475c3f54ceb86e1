"""Steps until the numbers stand still: every rank runs the same ones, and stops at the same one."""

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
    """The rank's word to its supervisor: one that says nothing for `stall_s` is taken for hung."""

    def progress(self, phase: str, steps: int = 0) -> None:
        """Say it to the supervisor."""

    def entering(self, phase: str) -> None:
        """Only remember it, for the case that it is the last phase."""


class Agreement(Protocol):
    """Makes the ranks of a cell act as one."""

    def maximum(self, values: Sequence[float]) -> list[float]:
        """Return the elementwise maximum over the ranks; returns on all of them at once, as a barrier does."""


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """One step on one rank: the seconds of the whole step, and of the calibration kernel before it."""

    step_s: float
    calibration_s: float


@dataclass
class StoppingRule:
    """Decides from the slowest rank's steps; the same on every rank, since all see the same numbers.

    Stops at the largest count, when the budget is spent, or when the interval of batch medians of the calibrated
    step is within the target.
    """

    sampling: SamplingConfig
    target: float
    _steps: list[StepTimes] = field(default_factory=list)

    def add(self, slowest: StepTimes) -> None:
        """Take a step that counts."""
        self._steps.append(slowest)

    def enough(self, *, over_budget: bool) -> bool:
        """Whether the last step was the last one needed."""
        count = len(self._steps)
        if count >= self.sampling.max_steps or over_budget:
            return count > 0
        due = count >= self.sampling.min_steps and count % self.sampling.check_every == 0
        return due and self.converged()

    def converged(self) -> bool:
        """Whether the interval is within the target, with enough steps to say so."""
        width = self.half_width()
        return len(self._steps) >= self.sampling.min_steps and width is not None and width <= self.target

    def half_width(self) -> float | None:
        """Return the relative half-width of the interval of the calibrated step."""
        if not self._steps:
            return None
        steps_s = [step.step_s for step in self._steps]
        return relative_half_width(calibrated(steps_s, [step.calibration_s for step in self._steps]))


class Steps(Protocol):
    """The steps of one cell on one rank."""

    def calibrate(self) -> None:
        """Run the calibration kernel that belongs to the next step."""

    def run(self, number: int) -> StepTimes:
        """Run step `number`, counted from 0."""


def sample(steps: Steps, agreement: Agreement, rule: StoppingRule, progress: Callable[[str, int], None]) -> None:
    """Run steps until the rule has enough; the first `warmup` of them do not count.

    The ranks agree on the step before just before each step, so that they enter it together.

    progress: hears the phase and the number of steps done in it.
    """
    warmup = rule.sampling.warmup
    deadline = math.inf
    done = 0
    last = StepTimes(step_s=0.0, calibration_s=0.0)
    while True:
        steps.calibrate()
        late = float(time.monotonic() > deadline)
        step_s, calibration_s, over_budget = agreement.maximum([last.step_s, last.calibration_s, late])
        if done > warmup:
            rule.add(StepTimes(step_s=step_s, calibration_s=calibration_s))
            if rule.enough(over_budget=bool(over_budget)):
                return
        elif done == warmup:
            deadline = time.monotonic() + rule.sampling.budget_s
        last = steps.run(done)
        done += 1
        progress("warm-up" if done <= warmup else "sampling", done if done <= warmup else done - warmup)


_REPORT_EVERY_S = 0.2


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's collector out of the steps: it would stop one rank, and let the others wait."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Throttled:
    """Passes progress on at most every so often: the pipe is written to between steps."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._said_at = 0.0

    def progress(self, phase: str, steps: int) -> None:
        """Say it, if the last word was long enough ago."""
        if time.monotonic() - self._said_at >= _REPORT_EVERY_S:
            self._said_at = time.monotonic()
            self._voice.progress(phase, steps)
