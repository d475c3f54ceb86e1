"""The `layers` profile in a rank: forward, backward, update and memory of each part of the chain."""

from dataclasses import dataclass, field

import torch

from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.instruments.calibration import Calibration, calibration_for
from sailor_exp.instruments.clock import Clock, clock_for
from sailor_exp.instruments.filler import QueueFiller, filler_for
from sailor_exp.instruments.memory_limit import without_limit
from sailor_exp.instruments.peaks import allocation_retries, forget_the_past
from sailor_exp.instruments.sampling import (
    LEAST_WARMUP_S,
    StepTimes,
    StoppingRule,
    Throttled,
    Voice,
    no_garbage_collection,
    sample,
)
from sailor_exp.profiles.layers.measurement import (
    ChainShare,
    LaunchSamples,
    Memory,
    PartMemory,
    PartSamples,
    Samples,
    largest_part,
)
from sailor_exp.profiles.layers.rank_observer import MemoryObserver, PartFootprint, StepFootprint
from sailor_exp.training.chain import Chain, StepIntervals
from sailor_exp.training.parts import Batch, batch_of, parameter_count

OBSERVED_STEP = 1
"""The second step: the first one creates the optimizer states."""


class LayersRank:
    """Builds the chain once for a tensor parallel degree, and measures it at one microbatch size after another."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:
        self._device = device
        self._voice = voice
        self._clock = clock_for(cell.gpu.device)
        self._chain = Chain(cell, device, self._clock)
        self._agreement = RankAgreement(device)
        self._calibration = calibration_for(cell, device, self._clock, self._agreement)

    def measure(self, cell: Cell) -> ChainShare:
        """Sample one cell until the stopping rule has enough."""
        self._voice.progress("batch")
        forget_the_past(self._device)
        batch = batch_of(cell, self._device)
        filler = filler_for(cell.gpu.device, self._clock, self._agreement)
        steps = ChainSteps(
            self._chain, batch, calibration=self._calibration, filler=filler, clock=self._clock, voice=self._voice
        )
        rule = StoppingRule(cell.sampling, sampling_target(cell))
        self._voice.progress("warm-up")
        with no_garbage_collection():
            warmup = sample(
                steps,
                self._agreement,
                rule,
                Throttled(self._voice).progress,
                least_warmup_s=LEAST_WARMUP_S[cell.gpu.device],
            )
        return steps.share(warmup)


@dataclass
class _LaunchSeconds:
    """Raw seconds of the host between the marks of one part, step by step; empty where the host does the work."""

    forward_s: list[float] = field(default_factory=list)
    backward_s: list[float] = field(default_factory=list)
    update_s: list[float] = field(default_factory=list)


@dataclass
class _PartSeconds:
    """Raw seconds of one part, step by step."""

    launch: _LaunchSeconds = field(default_factory=_LaunchSeconds)
    forward_s: list[float] = field(default_factory=list)
    backward_s: list[float] = field(default_factory=list)
    update_s: list[float] = field(default_factory=list)
    overhead_s: list[float] = field(default_factory=list)
    accumulate_s: list[float] = field(default_factory=list)


class ChainSteps:
    """The steps of a chain in one cell on one rank, in raw seconds.

    The second step is also watched for memory, and does not count.
    """

    def __init__(
        self,
        chain: Chain,
        batch: Batch,
        *,
        calibration: Calibration,
        filler: QueueFiller | None,
        clock: Clock,
        voice: Voice,
    ) -> None:
        self._chain = chain
        self._filler = filler
        self._batch = batch
        self._calibration = calibration
        self._clock = clock
        self._voice = voice
        self._footprint: StepFootprint | None = None
        self._calibration_s: list[float] = []
        self._queued_s: list[float] = []
        self._retries = [allocation_retries(batch.tokens.device)]
        self._seconds = [_PartSeconds() for _ in chain.parts]
        # The copy from the master weights is one pass over all parameters, at the speed of memory.
        counts = [parameter_count(part) for part in chain.parts]
        self._shares = [count / sum(counts) for count in counts]

    def calibrate(self) -> None:
        """Run the calibration kernel just before the next step, and mark its time."""
        self._calibration_interval = self._calibration.run()

    def run(self, number: int) -> StepTimes:
        """Run step `number`, counted from 0."""
        if self._filler is not None:
            self._queued_s.append(self._filler.fill())
        intervals = self._observed() if number == OBSERVED_STEP else self._chain.step(self._batch, self._voice.entering)
        self._clock.wait()
        self._calibration_s.append(self._calibration.seconds(self._calibration_interval))
        self._retries.append(allocation_retries(self._batch.tokens.device))
        return StepTimes(step_s=self._keep(intervals), calibration_s=self._calibration_s[-1])

    def share(self, warmup: int) -> ChainShare:
        """Return everything that the steps measured; the first `warmup` of them count in no statistic."""
        if self._footprint is None:
            raise RuntimeError("no step was watched for memory")
        return ChainShare(
            samples=Samples(
                warmup=warmup,
                parts=[self._part_samples(place) for place in range(len(self._seconds))],
                calibration_s=[self._calibration_s],
                calibration=self._calibration.kernel,
                queued_s=[self._queued_s] if self._queued_s else None,
            ),
            memory=self._memory(self._footprint, warmup),
            kernels=self._footprint.kernels,
        )

    def _part_samples(self, place: int) -> PartSamples:
        seconds = self._seconds[place]
        return PartSamples(
            part=self._chain.names[place],
            kind=self._chain.parts[place].kind,
            forward_s=[seconds.forward_s],
            backward_s=[seconds.backward_s],
            update_s=[seconds.update_s],
            overhead_s=[seconds.overhead_s],
            accumulate_s=[seconds.accumulate_s] if self._chain.accumulates else None,
            launch=_launch_samples(seconds.launch),
        )

    def _memory(self, footprint: StepFootprint, warmup: int) -> Memory:
        by_kind: dict[str, list[PartMemory]] = {}
        for part, part_footprint in zip(self._chain.parts, footprint.parts, strict=True):
            by_kind.setdefault(part.kind, []).append(_part_memory(part_footprint))
        return Memory(
            kinds={kind: largest_part(parts) for kind, parts in by_kind.items()},
            peak_bytes=footprint.peak_bytes,
            reserved_bytes=footprint.reserved_bytes,
            device_used_bytes=footprint.device_used_bytes,
            alloc_retries=self._retries_after(warmup),
        )

    def _retries_after(self, warmup: int) -> int | None:
        """Return the allocator's retries in the steps that count; None where there is no such allocator."""
        before, after = self._retries[min(warmup, len(self._retries) - 1)], self._retries[-1]
        return None if before is None or after is None else after - before

    def _observed(self) -> StepIntervals:
        self._voice.entering("watching memory")
        with without_limit():
            observer = MemoryObserver(self._chain, self._batch.tokens.device, apart_bytes=self._calibration.bytes)
            intervals, self._footprint = observer.step(self._batch)
        return intervals

    def _keep_launches(self, intervals: StepIntervals) -> None:
        """Append the host's seconds of every part, where launching is not the work itself."""
        update = intervals.update
        copies_s = sum(self._clock.launch_seconds(interval) or 0.0 for interval in update.copies)
        for seconds, times, own_update, share in zip(
            self._seconds, intervals.parts, update.parts, self._shares, strict=True
        ):
            phases = [self._clock.launch_seconds(interval) for interval in (times.forward, times.backward, own_update)]
            forward_s, backward_s, update_s = phases
            if forward_s is None or backward_s is None or update_s is None:
                return
            seconds.launch.forward_s.append(forward_s)
            seconds.launch.backward_s.append(backward_s)
            seconds.launch.update_s.append(update_s + share * copies_s)
        self._note_microbatch()

    def _note_microbatch(self) -> None:
        if self._filler is not None:
            last = [(seconds, seconds.launch) for seconds in self._seconds]
            self._filler.ran(
                device_s=sum(device.forward_s[-1] + device.backward_s[-1] for device, _ in last),
                launch_s=sum(launch.forward_s[-1] + launch.backward_s[-1] for _, launch in last),
            )

    def _keep(self, intervals: StepIntervals) -> float:
        """Append the seconds of every part; return the seconds of the step without accumulating."""
        update = intervals.update
        updates_s = [self._clock.seconds(interval) for interval in update.parts]
        copies_s = sum(self._clock.seconds(interval) for interval in update.copies)
        overhead_s = max(0.0, self._clock.seconds(update.whole) - sum(updates_s) - copies_s)
        for seconds, times, update_s, share in zip(
            self._seconds, intervals.parts, updates_s, self._shares, strict=True
        ):
            seconds.forward_s.append(self._clock.seconds(times.forward))
            seconds.backward_s.append(self._clock.seconds(times.backward))
            seconds.update_s.append(update_s + share * copies_s)
            seconds.overhead_s.append(overhead_s / len(self._seconds))
            if times.accumulate is not None:
                seconds.accumulate_s.append(self._clock.seconds(times.accumulate))
        self._keep_launches(intervals)
        parts_s = sum(seconds.forward_s[-1] + seconds.backward_s[-1] for seconds in self._seconds)
        return parts_s + self._clock.seconds(update.whole)


def _launch_samples(launch: _LaunchSeconds) -> LaunchSamples | None:
    if not launch.forward_s:
        return None
    return LaunchSamples(forward_s=[launch.forward_s], backward_s=[launch.backward_s], update_s=[launch.update_s])


def _part_memory(footprint: PartFootprint) -> PartMemory:
    return PartMemory(
        params_floats=footprint.params.floats,
        params_bytes=footprint.params.bytes,
        act_input_floats=footprint.entered.floats,
        act_input_bytes=footprint.entered.bytes,
        act_output_floats=footprint.handed_on.floats,
        act_output_bytes=footprint.handed_on.bytes,
        act_mem_floats=footprint.kept.floats,
        act_mem_bytes=footprint.kept.bytes,
        peak_forward_bytes=footprint.peak_forward_bytes,
        peak_backward_bytes=footprint.peak_backward_bytes,
        peak_update_bytes=footprint.peak_update_bytes,
    )


RANK = LayersRank
