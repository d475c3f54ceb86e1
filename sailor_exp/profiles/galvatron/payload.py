"""What one rank sends of its stage."""

from dataclasses import dataclass

from sailor_exp.records.provenance import DeviceFacts


@dataclass(frozen=True, kw_only=True)
class StageBytes:
    """What one rank measured of its stage, by the model's number of layers, under the names of StageMemory."""

    counts: dict[int, dict[str, int]]
    device: DeviceFacts
