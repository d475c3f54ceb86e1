"""The model as it is trained: all parts in one module, nothing between them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sailor_exp.model import Batch, Part


class FullModel(nn.Module):
    """Parts one after another, without borders; returns the loss, a scalar."""

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, tokens: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        batch = Batch(tokens=tokens, positions=positions, labels=labels)
        hidden = torch.empty(0)
        for part in self.parts:
            hidden = part(*part.inputs(hidden, batch))  # type: ignore[operator]
        return hidden
