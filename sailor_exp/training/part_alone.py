"""A model of one part, for a rank that has this part and nothing else.

Legend: s sequence, b microbatch, h hidden size.
"""

import torch
from torch import Tensor

from sailor_exp.config.architecture import Kind
from sailor_exp.config.schema import Cell
from sailor_exp.instruments.clock import CpuClock
from sailor_exp.training.engine import Engine
from sailor_exp.training.parts import Part, batch_of, build_part, hidden_states


class PartAlone:
    """One part with its optimizer, trained on input of its own: tokens, or random hidden states (s, b, h)."""

    def __init__(self, cell: Cell, kind: Kind, device: torch.device) -> None:
        self._cell = cell
        self._device = device
        self.part: Part = build_part(cell, kind, device)
        self.engine = Engine([self.part], cell, CpuClock())

    def step(self) -> None:
        """Run forward, backward and update. The step allocates and frees input, output and their gradients."""
        output = self.forward()
        torch.autograd.backward(output, torch.ones_like(output) if output.dim() else None)
        del output
        self.engine.step()

    def release(self) -> None:
        """Release the part, so that nothing of it stays allocated beside the next one."""
        self.engine.release()

    def forward(self) -> Tensor:
        """Return the output for a new input."""
        hidden = hidden_states(self._cell, self._device).requires_grad_()
        output: Tensor = self.part(*self.part.inputs(hidden, batch_of(self._cell, self._device)))
        return output
