"""The calibration kernel, as a record names it."""

from sailor_exp.records.base import Count, Frozen


class CalibrationKernel(Frozen):
    """What the calibration multiplies on CUDA, and how often within a sample. Two are alike where only that differs."""

    dtype: str
    size: Count
    repeats: Count

    def alike(self, other: "CalibrationKernel | None") -> bool:
        """Whether the times of one product are those of the same work."""
        return other is not None and (self.dtype, self.size) == (other.dtype, other.size)
