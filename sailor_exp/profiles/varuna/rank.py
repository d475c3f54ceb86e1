"""The `varuna` profile in a rank: peak memory of each kind of part alone, over whole training steps."""

from sailor_exp.config.architecture import Kind
from sailor_exp.config.schema import Cell
from sailor_exp.instruments.footprint import footprint
from sailor_exp.instruments.memory_limit import without_limit
from sailor_exp.instruments.peaks import allocated_bytes, peak_meter
from sailor_exp.profiles.rank_each_part import EachPartAlone
from sailor_exp.training.part_alone import PartAlone


class VarunaRank(EachPartAlone):
    """Trains a part until its memory no longer changes, then watches one step."""

    def counts(self, alone: PartAlone, cell: Cell, kind: Kind) -> dict[str, int]:
        """Return the bytes that last between steps, and the highest of a whole step."""
        for step in range(cell.sampling.warmup):
            self.voice.progress(f"warm-up {kind}", step + 1)
            alone.step()
        self.voice.progress(f"watching memory of {kind}")
        lasting = footprint(alone.engine.lasting_tensors()).bytes
        with without_limit():
            # cuBLAS's workspace comes with the first product of the process, and belongs to no part.
            meter = peak_meter(self.device, lasting, apart_bytes=allocated_bytes(self.device) - lasting)
            with meter:
                meter.entering("step")
                alone.step()
        return {"peak_bytes": meter.peak(), "lasting_bytes": lasting}


RANK = VarunaRank
