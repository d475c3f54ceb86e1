"""The `oobleck` profile in a rank: what each kind of part keeps for its backward, at one sample."""

import torch

from sailor_exp.config import Cell
from sailor_exp.layers import Kind, measured_kinds
from sailor_exp.memory import forget_the_past, kept_for_backward
from sailor_exp.messages import KindBytes
from sailor_exp.part_alone import PartAlone
from sailor_exp.profiles.voice import Voice
from sailor_exp.record import DeviceFacts


class OobleckProfile:
    """Builds one part after another, and trains each: what is kept belongs to a step like any other."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:  # noqa: ARG002
        self._device = device
        self._voice = voice

    def measure(self, cell: Cell, device: DeviceFacts) -> KindBytes:
        """Measure each kind of part of the model."""
        return KindBytes(
            counts={kind.value: self._counts(cell, kind) for kind in measured_kinds(cell.model)}, device=device
        )

    def _counts(self, cell: Cell, kind: Kind) -> dict[str, int]:
        self._voice.progress(f"measuring {kind}")
        forget_the_past(self._device)
        alone = PartAlone(cell, kind, self._device)
        alone.step()
        with kept_for_backward([alone.part]) as kept:
            output = alone.forward()
        del output
        return {"act_mem_bytes": kept.bytes}
