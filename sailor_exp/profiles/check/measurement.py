"""What `profile=check` measures: the full model beside the chain, and predictions of it.

Legend: T ranks, N steps, warm-up first; S pipeline stages.
"""

from collections.abc import Sequence
from typing import Literal

from sailor_exp.profiles.layers.measurement import ChainShare, Samples
from sailor_exp.records.base import Count, Frozen, NonNegative, Positive

Quantity = Literal["total", "forward", "backward", "update"]
QUANTITIES: tuple[Quantity, ...] = ("total", "forward", "backward", "update")

Source = Literal["interleaved", "earlier"]


class FullSamples(Frozen):
    """Raw seconds of the full model's training steps, each of shape (T, N); sums over a step's microbatches.

    `exchange_s`: DeepSpeed's exchange of gradients with one data parallel rank, copies to a flat buffer and back. A
    planner adds such an exchange by itself, so no other figure contains it. `total_s`: until the end of the update.
    """

    forward_s: list[list[NonNegative]]
    backward_s: list[list[NonNegative]]
    exchange_s: list[list[NonNegative]]
    update_s: list[list[NonNegative]]
    total_s: list[list[NonNegative]]


class CheckShare(Frozen):
    """What one rank measured: steps of the chain and of the full model in turn, in samples of shape (1, N)."""

    chain: ChainShare
    full: FullSamples
    peak_bytes: Count


class Estimate(Frozen):
    """Trimmed mean and median over the steps, and the relative half-width of the interval of batch medians.

    The half-width is None if there were too few steps.
    """

    value_s: NonNegative
    median_s: NonNegative
    relative_half_width: NonNegative | None


class SignedError(Frozen):
    """Predicted / measured - 1, and the half-width of its 95 % interval; None if there were too few steps."""

    value: float
    half_width: NonNegative | None


class Prediction(Frozen):
    """What the costs of parts predict for the full model's step.

    `source`: the chain whose steps ran in turn with the full model's, or a record of `profile=layers`; `record` is the
    file of that. `speed`: the factor of the record's seconds: those of the calibration kernel now over then, or 1 if
    the record has those of another kernel.
    """

    source: Source
    record: str | None
    speed: Positive
    seconds: dict[Quantity, Estimate]
    errors: dict[Quantity, SignedError]
    peak_bytes: Count
    peak_error: float


class CheckMeasurement(Frozen):
    """Real training steps of the full model, and predictions of them.

    `layers` maps each layer id of the model to a kind of part. `stages`: S lists, the kinds of the parts on each stage.
    `chain`: raw samples of the chain. `kinds`: bytes of one rank for each kind of part, under the names of PartMemory.
    `measured`: forward and backward are those of all stages together, the update that of the slowest. `peak_bytes`:
    highest of each rank, with the full model alone. `relative_half_width`: of the interval of a round, a step of the
    chain and one of the full model; `calibrated`: as in `layers`.
    """

    layers: dict[str, str]
    stages: list[list[str]]
    num_microbatches: Count
    chain: Samples
    full: FullSamples
    steps: Count
    converged: bool
    target: NonNegative
    relative_half_width: NonNegative | None
    calibrated: bool | None = None
    measured: dict[Quantity, Estimate]
    exchange: Estimate
    kinds: dict[str, dict[str, Count]]
    peak_bytes: list[Count]
    predictions: list[Prediction]


def joined_full(shares: Sequence[FullSamples]) -> FullSamples:
    """Join the samples of all ranks, by rising rank: shape (1, N) of each to (T, N)."""
    return FullSamples(
        **{times: [rank for share in shares for rank in getattr(share, times)] for times in FullSamples.model_fields}
    )
