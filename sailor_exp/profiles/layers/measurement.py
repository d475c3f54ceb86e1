"""What `profile=layers` measures: what a rank sends, and what a record holds.

Legend: T ranks, N steps, warm-up first.
"""

from collections.abc import Sequence

from sailor_exp.records.base import Count, Frozen, NonNegative
from sailor_exp.records.calibration import CalibrationKernel

LAUNCH_BOUND = 1.1
"""Times its launch time up to which a phase counts as bound by its launches."""


class LaunchSamples(Frozen):
    """Raw times of the host between the marks of one part, in seconds, each of shape (T, N): of launching its work."""

    forward_s: list[list[NonNegative]]
    backward_s: list[list[NonNegative]]
    update_s: list[list[NonNegative]]


class PartSamples(Frozen):
    """Raw times of one part of the chain, in seconds, each of shape (T, N).

    `kind`: the kind of the model's layers that the part stands for. `overhead_s`: an even share of what DeepSpeed's
    step takes beyond the updates of all parts; a training step pays that once, not once a layer. `accumulate_s`: the
    time of adding to the part's gradients, as the backward of each microbatch after the first does; None where
    DeepSpeed's own hooks accumulate inside the backward (bf16), and in records of method 1. `launch`: None on a CPU,
    and in records from before it was recorded.
    """

    part: str
    kind: str
    forward_s: list[list[NonNegative]]
    backward_s: list[list[NonNegative]]
    update_s: list[list[NonNegative]]
    overhead_s: list[list[NonNegative]]
    accumulate_s: list[list[NonNegative]] | None = None
    launch: LaunchSamples | None = None


class Samples(Frozen):
    """All steps of a cell; the first `warmup` of them count in no statistic.

    `calibration_s`: of one product of the calibration kernel, shape (T, N). `calibration`: that kernel; None on a CPU
    (one product of 256 x 256 ones in fp32), and in records from before it was recorded. `queued_s`: how long the device
    still had work when the step began, shape (T, N); None on a CPU, and in records from before it was recorded.
    """

    warmup: Count
    parts: list[PartSamples]
    calibration_s: list[list[NonNegative]]
    calibration: CalibrationKernel | None = None
    queued_s: list[list[NonNegative]] | None = None


class Timing(Frozen):
    """One phase of one kind of part, in each step on the rank with the slowest step, so that phases add up.

    `value_s`: the trimmed mean, which planners add up. `relative_half_width`: of the 95 % interval of batch medians;
    None if there were too few steps. `launch_s`: median of the host's time to launch the phase; None on a CPU, for what
    is no phase of a part, and in records from before it was recorded. `launch_bound`: whether the median is at most
    LAUNCH_BOUND times that: the device waits for launches, or would without the work that is queued before.
    """

    value_s: NonNegative
    median_s: NonNegative
    relative_half_width: NonNegative | None
    skew_s: NonNegative
    launch_s: NonNegative | None = None
    launch_bound: bool | None = None


class KindStatistics(Frozen):
    """Timing of the phases of one kind of part, and its share of DeepSpeed's overhead around the update.

    `accumulate`: what a microbatch after the first adds to the backward; None where it is not measured separately.
    """

    forward: Timing
    backward: Timing
    update: Timing
    overhead: Timing
    accumulate: Timing | None = None


class Statistics(Frozen):
    """Statistics of the samples. `converged`: the interval of the step reached `target` in `steps` steps.

    `calibrated`: whether that interval is of the calibrated step, which it is unless dividing by the calibration widens
    it; None in records from before it was recorded, in which it always is.
    """

    steps: Count
    converged: bool
    target: NonNegative
    relative_half_width: NonNegative | None
    calibrated: bool | None = None
    step: Timing
    kinds: dict[str, KindStatistics]


class PartMemory(Frozen):
    """Memory of one kind of part on one rank, for the cell's whole microbatch.

    Elements and bytes of parameters, and of the tensors that enter the part (`act_input`), that leave it
    (`act_output`; for the head: logits and loss), and that it keeps for its backward (`act_mem`). Peaks are bytes
    above what was allocated when the phase began.
    """

    params_floats: Count
    act_output_floats: Count
    act_input_floats: Count
    act_mem_floats: Count
    params_bytes: Count
    act_output_bytes: Count
    act_input_bytes: Count
    act_mem_bytes: Count
    peak_forward_bytes: Count
    peak_backward_bytes: Count
    peak_update_bytes: Count


class Memory(Frozen):
    """Memory of a rank that holds the chain of parts. In a record: the largest of the ranks.

    `kinds`: the largest part of each kind. `peak_bytes`: parameters, gradients, optimizer states and activations at
    the highest moment of a step. `reserved_bytes` and `device_used_bytes`: the figures of the allocator and of the
    device; None on a CPU. `alloc_retries`: how often in the steps that count the allocator freed its cache to go on,
    which takes time; None on a CPU and in older records.
    """

    kinds: dict[str, PartMemory]
    peak_bytes: Count
    reserved_bytes: Count | None
    device_used_bytes: Count | None
    alloc_retries: Count | None = None


class ChainShare(Frozen):
    """What one rank measured of a chain: its samples, of shape (1, N), its memory, and the fused kernels that ran."""

    samples: Samples
    memory: Memory
    kernels: list[str] | None = None


class LayersMeasurement(Frozen):
    """What a record of the profile holds. `layers` maps each layer id of the model to a kind of part.

    `kernels`: the fused norms and attentions that PyTorch chose, by the names of autograd's nodes; what is not in the
    list was computed step by step. None in older records.
    """

    layers: dict[str, str]
    statistics: Statistics
    memory: Memory
    samples: Samples
    kernels: list[str] | None = None


def joined_samples(shares: Sequence[Samples]) -> Samples:
    """Join the samples of all ranks, by rising rank: shape (1, N) of each to (T, N)."""
    first = shares[0]
    return Samples(
        warmup=first.warmup,
        parts=[_joined_part([share.parts[place] for share in shares]) for place in range(len(first.parts))],
        calibration_s=[rank for share in shares for rank in share.calibration_s],
        calibration=first.calibration,
        queued_s=[rank for share in shares for rank in share.queued_s or []] or None,
    )


def largest_memory(memories: Sequence[Memory]) -> Memory:
    """Return the largest of the ranks, figure by figure."""
    kinds = memories[0].kinds
    return Memory(
        kinds={kind: largest_part([memory.kinds[kind] for memory in memories]) for kind in kinds},
        peak_bytes=max(memory.peak_bytes for memory in memories),
        reserved_bytes=_largest([memory.reserved_bytes for memory in memories]),
        device_used_bytes=_largest([memory.device_used_bytes for memory in memories]),
        alloc_retries=_largest([memory.alloc_retries for memory in memories]),
    )


def largest_part(parts: Sequence[PartMemory]) -> PartMemory:
    """Return the largest of some parts, figure by figure."""
    return PartMemory(**{name: max(getattr(part, name) for part in parts) for name in PartMemory.model_fields})


def _joined_part(shares: Sequence[PartSamples]) -> PartSamples:
    def ranks(times: str) -> list[list[float]]:
        return [rank for share in shares for rank in getattr(share, times)]

    accumulates = all(share.accumulate_s is not None for share in shares)
    return PartSamples(
        part=shares[0].part,
        kind=shares[0].kind,
        forward_s=ranks("forward_s"),
        backward_s=ranks("backward_s"),
        update_s=ranks("update_s"),
        overhead_s=ranks("overhead_s"),
        accumulate_s=ranks("accumulate_s") if accumulates else None,
        launch=_joined_launch([share.launch for share in shares if share.launch is not None]),
    )


def _joined_launch(shares: Sequence[LaunchSamples]) -> LaunchSamples | None:
    if not shares:
        return None
    return LaunchSamples(
        **{times: [rank for share in shares for rank in getattr(share, times)] for times in LaunchSamples.model_fields}
    )


def _largest(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return max(known) if known else None
