"""The `varuna` profile in a rank: peak memory of each kind of part alone, over whole training steps."""

import torch

from sailor_exp.config import Cell
from sailor_exp.layers import Kind, measured_kinds
from sailor_exp.limit import without_limit
from sailor_exp.memory import footprint, forget_the_past, peak_meter
from sailor_exp.messages import KindBytes
from sailor_exp.part_alone import PartAlone
from sailor_exp.profiles.voice import Voice
from sailor_exp.record import DeviceFacts


class VarunaProfile:
    """Builds one part after another; no two of them are there at once."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:  # noqa: ARG002
        self._device = device
        self._voice = voice

    def measure(self, cell: Cell, device: DeviceFacts) -> KindBytes:
        """Measure each kind of part of the model."""
        return KindBytes(
            counts={kind.value: self._counts(cell, kind) for kind in measured_kinds(cell.model)}, device=device
        )

    def _counts(self, cell: Cell, kind: Kind) -> dict[str, int]:
        self._voice.progress(f"building {kind}")
        forget_the_past(self._device)
        alone = PartAlone(cell, kind, self._device)
        for step in range(cell.sampling.warmup):
            self._voice.progress(f"warm-up {kind}", step + 1)
            alone.step()
        self._voice.progress(f"watching memory of {kind}")
        lasting = footprint(alone.engine.lasting_tensors()).bytes
        with without_limit():
            meter = peak_meter(self._device, lasting)
            with meter:
                meter.entering("step")
                alone.step()
        return {"peak_bytes": meter.peak(), "lasting_bytes": lasting}
