"""What was predicted of a training step from a profile, beside what the step then took: input of the report."""

from dataclasses import dataclass
from enum import StrEnum


class PredictedQuantity(StrEnum):
    """What is predicted of a step: seconds, and for the last one bytes."""

    total = "total"
    forward = "forward"
    backward = "backward"
    update = "update"
    peak_memory = "peak memory"


class PredictionSource(StrEnum):
    """Where the numbers that a prediction adds up come from: the same process in turn with the step, or before."""

    interleaved = "interleaved"
    earlier_record = "earlier record"


@dataclass(frozen=True, kw_only=True)
class PredictionRow:
    """One quantity of one step. Seconds or bytes; intervals are relative half-widths of 95 %, None where unknown.

    `record`: file name of the record that holds the measured step. `error_half_width` is in the unit of the error;
    where both were measured in turn it is narrower than the two intervals together.
    """

    tp: int
    mbs: int
    pp: int
    num_microbatches: int
    quantity: PredictedQuantity
    predicted: float
    predicted_half_width: float | None
    measured: float
    measured_half_width: float | None
    error_half_width: float | None
    source: PredictionSource
    record: str

    @property
    def relative_error(self) -> float:
        """How much more is predicted than was measured: (predicted - measured) / measured."""
        return (self.predicted - self.measured) / self.measured
