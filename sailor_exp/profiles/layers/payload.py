"""What one rank sends of a chain."""

from dataclasses import dataclass

from sailor_exp.records.provenance import DeviceFacts


@dataclass(frozen=True, kw_only=True)
class PartSeconds:
    """Raw seconds of one part on one rank, all steps, warm-up first: shape (N,) each."""

    part: str
    kind: str
    forward_s: list[float]
    backward_s: list[float]
    update_s: list[float]
    overhead_s: list[float]
    accumulate_s: list[float] | None


@dataclass(frozen=True, kw_only=True)
class PartBytes:
    """Memory of one part on one rank, under the names of the record's PartMemory."""

    kind: str
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class LayersMeasurement:
    """What one rank measured in one cell."""

    parts: list[PartSeconds]
    calibration_s: list[float]
    memory: list[PartBytes]
    peak_bytes: int
    reserved_bytes: int | None
    device_used_bytes: int | None
    device: DeviceFacts
