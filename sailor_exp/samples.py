"""Raw times of a cell, and what is derived from one series of them.

Legend: T ranks, N steps, warm-up first.
"""

from sailor_exp.frozen import Count, Frozen, NonNegative


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
