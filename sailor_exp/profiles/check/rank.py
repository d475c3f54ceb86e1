"""The `check` profile in a rank: steps of the full model in turn with steps of the chain that predicts them."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.calibration import calibration_for
from sailor_exp.instruments.clock import Clock, Interval, clock_for
from sailor_exp.instruments.filler import filler_for
from sailor_exp.instruments.footprint import footprint
from sailor_exp.instruments.memory_limit import without_limit
from sailor_exp.instruments.peaks import allocated_bytes, forget_the_past, peak_meter
from sailor_exp.instruments.sampling import (
    LEAST_WARMUP_S,
    StepTimes,
    StoppingRule,
    Throttled,
    Voice,
    no_garbage_collection,
    sample,
)
from sailor_exp.profiles.check.measurement import CheckShare, FullSamples
from sailor_exp.profiles.layers.rank import OBSERVED_STEP, ChainSteps
from sailor_exp.training.chain import Chain
from sailor_exp.training.parts import Batch, batch_of
from sailor_exp.training.whole_model import Entering, Phase, Training, training_of


class CheckRank:
    """Builds the chain and the full model beside each other in every rank."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:
        self._device = device
        self._voice = voice
        self._clock = clock_for(cell.gpu.device)
        self._chain = Chain(cell, device, self._clock)
        self._agreement = RankAgreement(device)
        self._calibration = calibration_for(cell, device, self._clock, self._agreement)

    def measure(self, cell: Cell) -> CheckShare:
        """Run steps of both in turn until the stopping rule has enough."""
        self._voice.progress("building the full model")
        forget_the_past(self._device)
        training = training_of(cell, self._device)
        batch = batch_of(cell, self._device)
        full = _FullSteps(training, [batch] * cell.num_microbatches, self._clock, self._voice, self._device)
        filler = filler_for(cell.gpu.device, self._clock, self._agreement)
        chain = ChainSteps(
            self._chain, batch, calibration=self._calibration, filler=filler, clock=self._clock, voice=self._voice
        )
        rule = StoppingRule(cell.sampling, sampling_target(cell))
        self._voice.progress("warm-up")
        with no_garbage_collection():
            warmup = sample(
                _Rounds(chain, full, self._agreement),
                self._agreement,
                rule,
                Throttled(self._voice).progress,
                least_warmup_s=LEAST_WARMUP_S[cell.gpu.device],
            )
        return CheckShare(chain=chain.share(warmup), full=full.samples(), peak_bytes=full.peak_bytes())


class _Rounds:
    """A step of each in alternating order, so that a drift of the machine affects both alike."""

    def __init__(self, chain: ChainSteps, full: "_FullSteps", agreement: RankAgreement) -> None:
        self._chain = chain
        self._full = full
        self._agreement = agreement

    def calibrate(self) -> None:
        """Run the calibration kernel just before the next round, and mark its time."""
        self._chain.calibrate()

    def run(self, number: int) -> StepTimes:
        """Run round `number`, counted from 0; the ranks enter the second step together, too."""
        if number % 2:
            full_s = self._full.run(number)
            self._agreement.maximum([0.0])
            chain = self._chain.run(number)
        else:
            chain = self._chain.run(number)
            self._agreement.maximum([0.0])
            full_s = self._full.run(number)
        return StepTimes(step_s=chain.step_s + full_s, calibration_s=chain.calibration_s)


class _FullSteps:
    """Steps of the full model on one rank, with marks between the phases and none inside."""

    def __init__(
        self, training: Training, batches: Sequence[Batch], clock: Clock, voice: Voice, device: torch.device
    ) -> None:
        self._training = training
        self._batches = batches
        self._clock = clock
        self._voice = voice
        self._device = device
        self._peak_bytes: int | None = None
        self._seconds: dict[str, list[float]] = {times: [] for times in FullSamples.model_fields}

    def run(self, number: int) -> float:
        """Run step `number`; return its seconds. The second step is also watched for memory, and does not count."""
        marks: list[tuple[str, Any]] = []

        def entering(phase: str) -> None:
            marks.append((phase, self._clock.now()))

        start = self._clock.now()
        if number == OBSERVED_STEP:
            self._observed(entering)
        else:
            self._voice.entering("full model")
            self._training.step(self._batches, entering)
        self._clock.wait()
        return self._keep(start, marks)

    def samples(self) -> FullSamples:
        """Return the seconds of all steps, shape (1, N)."""
        return FullSamples(**{times: [seconds] for times, seconds in self._seconds.items()})

    def peak_bytes(self) -> int:
        """Return the highest bytes of the watched step, without the chain."""
        if self._peak_bytes is None:
            raise RuntimeError("no step was watched for memory")
        return self._peak_bytes

    def _observed(self, entering: Entering) -> None:
        self._voice.entering("watching memory of the full model")
        # The CPU's meter does not see the release of earlier buffers: without them the step allocates its own.
        self._training.drop_buffers()
        forget_the_past(self._device)
        lasting = footprint(self._training.lasting_tensors()).bytes
        with without_limit():
            meter = peak_meter(self._device, lasting, apart_bytes=allocated_bytes(self._device) - lasting)

            def watched(phase: str) -> None:
                entering(phase)
                meter.entering(phase)

            with meter:
                meter.entering(Phase.load)
                self._training.step(self._batches, watched)
        self._peak_bytes = meter.peak()

    def _keep(self, start: Any, marks: Sequence[tuple[str, Any]]) -> float:
        """Append the seconds of a step and return them all. The last mark is the end of the update."""
        took_s: defaultdict[str, float] = defaultdict(float)
        for (phase, began), (_, ended) in itertools.pairwise(marks):
            took_s[phase] += self._clock.seconds(Interval(began, ended))
        whole_s = self._clock.seconds(Interval(start, marks[-1][1]))
        step = {
            "forward_s": took_s[Phase.forward],
            "backward_s": took_s[Phase.backward],
            "exchange_s": took_s[Phase.reduce],
            "update_s": took_s[Phase.update],
            "total_s": max(0.0, whole_s - took_s[Phase.reduce]),
        }
        for times, seconds in step.items():
            self._seconds[times].append(seconds)
        return whole_s


RANK = CheckRank
