"""The `oobleck` profile in a rank: what each kind of part keeps for its backward, at one sample."""

from sailor_exp.config.architecture import Kind
from sailor_exp.config.schema import Cell
from sailor_exp.instruments.footprint import kept_for_backward
from sailor_exp.profiles.rank_each_part import EachPartAlone
from sailor_exp.training.part_alone import PartAlone


class OobleckRank(EachPartAlone):
    """Trains each part for one step first, so that the counted forward is an ordinary one."""

    def counts(self, alone: PartAlone, cell: Cell, kind: Kind) -> dict[str, int]:  # noqa: ARG002
        """Return the bytes that the forward of the second step keeps."""
        self.voice.entering(f"training {kind}")
        alone.step()
        with kept_for_backward([alone.part]) as kept:
            output = alone.forward()
        del output
        return {"act_mem_bytes": kept.bytes}


RANK = OobleckRank
