"""The `varuna` profile in a rank: peak memory of each kind of part alone, over whole training steps."""

from sailor_exp.config import Cell
from sailor_exp.layers import Kind
from sailor_exp.limit import without_limit
from sailor_exp.memory import allocated_bytes, footprint, peak_meter
from sailor_exp.part_alone import PartAlone
from sailor_exp.profiles.each_part_alone import EachPartAlone


class VarunaProfile(EachPartAlone):
    """Trains a part until its memory is what it stays at, then watches one step."""

    def counts(self, alone: PartAlone, cell: Cell, kind: Kind) -> dict[str, int]:
        """Return what is there between steps, and the highest of a whole step."""
        for step in range(cell.sampling.warmup):
            self.voice.progress(f"warm-up {kind}", step + 1)
            alone.step()
        self.voice.progress(f"watching memory of {kind}")
        lasting = footprint(alone.engine.lasting_tensors()).bytes
        with without_limit():
            # cuBLAS's workspace comes with the first product of the process, and is of no part.
            meter = peak_meter(self.device, lasting, apart_bytes=allocated_bytes(self.device) - lasting)
            with meter:
                meter.entering("step")
                alone.step()
        return {"peak_bytes": meter.peak(), "lasting_bytes": lasting}
