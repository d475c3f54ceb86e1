"""What `profile=oobleck` puts into a record."""

from typing import Literal

from sailor_exp.records.base import Count, Frozen


class ActivationMeasurement(Frozen):
    """Bytes that one rank keeps of a part for its backward, by kind of part; the largest of the ranks."""

    profile: Literal["oobleck"] = "oobleck"
    act_mem_bytes: dict[str, Count]
