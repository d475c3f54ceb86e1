"""What profiles that measure each part alone have in common in a rank."""

from abc import ABC, abstractmethod

import torch

from sailor_exp.config.architecture import Kind, measured_kinds
from sailor_exp.config.schema import Cell
from sailor_exp.instruments.peaks import forget_the_past
from sailor_exp.instruments.sampling import Voice
from sailor_exp.profiles.part_bytes import PartBytes
from sailor_exp.training.part_alone import PartAlone


class EachPartAlone(ABC):
    """Builds one part after another, never two at once."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:  # noqa: ARG002
        self.device = device
        self.voice = voice

    def measure(self, cell: Cell) -> PartBytes:
        """Measure each kind of part of the model."""
        return {kind.value: self._counts_alone(cell, kind) for kind in measured_kinds(cell.model)}

    @abstractmethod
    def counts(self, alone: PartAlone, cell: Cell, kind: Kind) -> dict[str, int]:
        """Return the bytes of one part, under the names of its profile's measurement."""

    def _counts_alone(self, cell: Cell, kind: Kind) -> dict[str, int]:
        self.voice.progress(f"building {kind}")
        forget_the_past(self.device)
        alone = PartAlone(cell, kind, self.device)
        counts = self.counts(alone, cell, kind)
        alone.release()
        return counts
