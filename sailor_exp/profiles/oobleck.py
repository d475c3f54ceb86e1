"""The `oobleck` profile in a rank: what each kind of part keeps for its backward, at one sample."""

from sailor_exp.config import Cell
from sailor_exp.layers import Kind
from sailor_exp.memory import kept_for_backward
from sailor_exp.part_alone import PartAlone
from sailor_exp.profiles.each_part_alone import EachPartAlone


class OobleckProfile(EachPartAlone):
    """Trains each part: what is kept belongs to a step like any other."""

    def counts(self, alone: PartAlone, cell: Cell, kind: Kind) -> dict[str, int]:  # noqa: ARG002
        """Return what the forward of the second step keeps."""
        self.voice.entering(f"training {kind}")
        alone.step()
        with kept_for_backward([alone.part]) as kept:
            output = alone.forward()
        del output
        return {"act_mem_bytes": kept.bytes}
