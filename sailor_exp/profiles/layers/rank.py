"""The `layers` profile in a rank: forward, backward, update and memory of each part of the chain."""

import torch

from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.calibration import Calibration
from sailor_exp.instruments.clock import Clock, Interval, clock_for
from sailor_exp.instruments.memory_limit import without_limit
from sailor_exp.instruments.peaks import forget_the_past
from sailor_exp.instruments.sampling import StepTimes, StoppingRule, Throttled, Voice, no_garbage_collection, sample
from sailor_exp.profiles.layers.payload import LayersMeasurement, PartBytes, PartSeconds
from sailor_exp.profiles.layers.rank_observer import MemoryObserver, PartFootprint, StepFootprint
from sailor_exp.records.provenance import DeviceFacts
from sailor_exp.training.chain import Chain, StepIntervals
from sailor_exp.training.parts import Batch, batch_of, parameter_count

OBSERVED_STEP = 1
"""The second step: the first one creates the optimizer states."""


class LayersRank:
    """Builds the chain once for a tensor parallel degree, and measures it at one microbatch after another."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:
        self._device = device
        self._voice = voice
        self._clock = clock_for(cell.gpu.device)
        self._chain = Chain(cell, device, self._clock)
        self._calibration = Calibration(cell.gpu.device, device)
        self._agreement = RankAgreement(device)

    def measure(self, cell: Cell, device: DeviceFacts) -> LayersMeasurement:
        """Sample one cell until the stopping rule has enough."""
        self._voice.progress("batch")
        forget_the_past(self._device)
        steps = ChainSteps(self._chain, batch_of(cell, self._device), self._calibration, self._clock, self._voice)
        rule = StoppingRule(cell.sampling, sampling_target(cell))
        self._voice.progress("warm-up")
        with no_garbage_collection():
            sample(steps, self._agreement, rule, Throttled(self._voice).progress)
        return steps.measurement(device)


class ChainSteps:
    """The steps of a chain in one cell on one rank, in raw seconds.

    apart_bytes: what is allocated beside the chain. The second step is also watched for memory, and does not count.
    """

    def __init__(
        self,
        chain: Chain,
        batch: Batch,
        calibration: Calibration,
        clock: Clock,
        voice: Voice,
        *,
        apart_bytes: int = 0,
    ) -> None:
        self._chain = chain
        self._batch = batch
        self._calibration = calibration
        self._clock = clock
        self._voice = voice
        self._apart_bytes = apart_bytes + calibration.bytes
        self._footprint: StepFootprint | None = None
        self._calibration_s: list[float] = []
        self._parts = [
            PartSeconds(
                part=name,
                kind=part.kind,
                forward_s=[],
                backward_s=[],
                update_s=[],
                overhead_s=[],
                accumulate_s=[] if chain.accumulates else None,
            )
            for name, part in zip(chain.names, chain.parts, strict=True)
        ]
        # Copying from the master weights is one pass over all parameters, in memory's own speed.
        counts = [parameter_count(part) for part in chain.parts]
        self._shares = [count / sum(counts) for count in counts]

    def calibrate(self) -> None:
        """Mark how long the calibration kernel takes just before the next step."""
        start = self._clock.now()
        self._calibration.run()
        self._calibrated = Interval(start, self._clock.now())

    def run(self, number: int) -> StepTimes:
        """Run step `number`, counted from 0."""
        intervals = self._observed() if number == OBSERVED_STEP else self._chain.step(self._batch, self._voice.entering)
        self._clock.wait()
        self._calibration_s.append(self._clock.seconds(self._calibrated))
        return StepTimes(step_s=self._keep(intervals), calibration_s=self._calibration_s[-1])

    def measurement(self, device: DeviceFacts) -> LayersMeasurement:
        """Return everything that the steps gave."""
        if self._footprint is None:
            raise RuntimeError("no step was watched for memory")
        return LayersMeasurement(
            parts=self._parts,
            calibration_s=self._calibration_s,
            memory=[
                PartBytes(kind=part.kind, counts=_counts(footprint))
                for part, footprint in zip(self._chain.parts, self._footprint.parts, strict=True)
            ],
            peak_bytes=self._footprint.peak_bytes,
            reserved_bytes=self._footprint.reserved_bytes,
            device_used_bytes=self._footprint.device_used_bytes,
            device=device,
        )

    def _observed(self) -> StepIntervals:
        self._voice.entering("watching memory")
        with without_limit():
            observer = MemoryObserver(self._chain, self._batch.tokens.device, apart_bytes=self._apart_bytes)
            intervals, self._footprint = observer.step(self._batch)
        return intervals

    def _keep(self, intervals: StepIntervals) -> float:
        """Append the seconds of every part; returns what the step took without accumulating."""
        update = intervals.update
        updates_s = [self._clock.seconds(interval) for interval in update.parts]
        copies_s = sum(self._clock.seconds(interval) for interval in update.copies)
        overhead_s = max(0.0, self._clock.seconds(update.whole) - sum(updates_s) - copies_s)
        for part, times, update_s, share in zip(self._parts, intervals.parts, updates_s, self._shares, strict=True):
            part.forward_s.append(self._clock.seconds(times.forward))
            part.backward_s.append(self._clock.seconds(times.backward))
            part.update_s.append(update_s + share * copies_s)
            part.overhead_s.append(overhead_s / len(self._parts))
            if part.accumulate_s is not None and times.accumulate is not None:
                part.accumulate_s.append(self._clock.seconds(times.accumulate))
        return sum(part.forward_s[-1] + part.backward_s[-1] for part in self._parts) + self._clock.seconds(update.whole)


def _counts(footprint: PartFootprint) -> dict[str, int]:
    return {
        "params_floats": footprint.params.floats,
        "params_bytes": footprint.params.bytes,
        "act_input_floats": footprint.entered.floats,
        "act_input_bytes": footprint.entered.bytes,
        "act_output_floats": footprint.handed_on.floats,
        "act_output_bytes": footprint.handed_on.bytes,
        "act_mem_floats": footprint.kept.floats,
        "act_mem_bytes": footprint.kept.bytes,
        "peak_forward_bytes": footprint.peak_forward_bytes,
        "peak_backward_bytes": footprint.peak_backward_bytes,
        "peak_update_bytes": footprint.peak_update_bytes,
    }


RANK = LayersRank
