"""Numbers on which the ranks of a group agree."""

from collections.abc import Sequence

import torch
import torch.distributed


class RankAgreement:
    """Elementwise maximum over the ranks, through the group that they train in."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def maximum(self, values: Sequence[float]) -> list[float]:
        """Return the maxima, shape (k,) to (k,), when every rank has called this."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self._device)
        torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
        return [float(value) for value in tensor.tolist()]
