"""Raw times of a cell, and what is derived from one series of them.

Legend: T ranks, N steps, warm-up first.
"""

from sailor_exp.records.base import Count, Frozen, NonNegative


class PartSamples(Frozen):
    """Raw times of one part of the chain, in seconds, each of shape (T, N).

    `kind` says which layers of the model the part stands for. `overhead_s` is an even share of what DeepSpeed's step
    takes beyond the updates of all parts: a training step pays that once, not once a layer. `accumulate_s` is what
    adding to the part's gradients takes, as the backward of each microbatch after the first does; None where
    DeepSpeed's own hooks accumulate them inside the backward (bf16), and in records of method 1.
    """

    part: str
    kind: str
    forward_s: list[list[NonNegative]]
    backward_s: list[list[NonNegative]]
    update_s: list[list[NonNegative]]
    overhead_s: list[list[NonNegative]]
    accumulate_s: list[list[NonNegative]] | None = None


class Samples(Frozen):
    """All steps of a cell; the first `warmup` of them count in no statistic. `calibration_s`: shape (T, N)."""

    warmup: Count
    parts: list[PartSamples]
    calibration_s: list[list[NonNegative]]


class Timing(Frozen):
    """One phase of one kind of part: in each step that of the rank whose step was slowest, so that phases add up.

    `value_s` is the trimmed mean that planners add up; `relative_half_width` belongs to the 95 % interval of batch
    medians and is None where there were too few steps to tell.
    """

    value_s: NonNegative
    median_s: NonNegative
    relative_half_width: NonNegative | None
    skew_s: NonNegative


class KindStatistics(Frozen):
    """Timing of the phases of one kind of part, and its share of DeepSpeed's overhead around the update.

    `accumulate`: what a microbatch after the first adds to the backward; None where that is not told apart.
    """

    forward: Timing
    backward: Timing
    update: Timing
    overhead: Timing
    accumulate: Timing | None = None


class Statistics(Frozen):
    """What the samples say. `converged`: the interval of the calibrated step reached `target` in `steps` steps."""

    steps: Count
    converged: bool
    target: NonNegative
    relative_half_width: NonNegative | None
    step: Timing
    kinds: dict[str, KindStatistics]


class PartMemory(Frozen):
    """Memory of one kind of part on one rank, for the cell's whole microbatch.

    Elements and bytes of parameters, of the tensors that enter the part (`act_input`), that it hands on
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
    """Memory of a rank that holds the chain of parts; the largest of the ranks.

    `peak_bytes`: parameters, gradients, optimizer states and activations at the highest moment of a step.
    `reserved_bytes` and `device_used_bytes` are the allocator's and the device's own figures, None where there is
    none to ask.
    """

    kinds: dict[str, PartMemory]
    peak_bytes: Count
    reserved_bytes: Count | None
    device_used_bytes: Count | None
