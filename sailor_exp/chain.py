"""One training step of a chain of parts, cut at the borders, each phase of each part in its own interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sailor_exp.clock import Clock, Interval
from sailor_exp.config import Cell
from sailor_exp.engine import Engine
from sailor_exp.model import Batch, Part, build_parts


@dataclass(frozen=True, kw_only=True)
class PartIntervals:
    """What one step took in one part. `whole_update` is DeepSpeed's step around the intervals of `updates`."""

    forward: Interval
    backward: Interval
    updates: list[Interval]
    whole_update: Interval


def _nothing(_: str) -> None:
    return


class Chain:
    """Parts in the order of the model, each with its engine.

    `step` runs forward through all of them, backward in reverse from each part's output gradient, then each
    update: a training step of the small model that the parts make up. A part's input is detached from the part
    before it, and its gradient handed on as the next output gradient.
    """

    def __init__(self, cell: Cell, device: torch.device, clock: Clock) -> None:
        self.parts = build_parts(cell, device)
        self.names = _names(self.parts)
        self.engines = [Engine(part, cell, clock) for part in self.parts]
        self._clock = clock

    def step(self, batch: Batch, entering: Callable[[str], None] = _nothing) -> list[PartIntervals]:
        """Run one step; `entering` hears `"{phase} {part}"` before each. Intervals in the order of `parts`."""
        forwards, borders, outputs = self._forward(batch, entering)
        backwards = self._backward(borders, outputs, entering)
        steps = []
        for index, engine in enumerate(self.engines):
            entering(f"update {self.names[index]}")
            steps.append(engine.step())
        return [
            PartIntervals(forward=forward, backward=backward, updates=updates, whole_update=whole)
            for forward, backward, (whole, updates) in zip(forwards, backwards, steps, strict=True)
        ]

    def _forward(
        self, batch: Batch, entering: Callable[[str], None]
    ) -> tuple[list[Interval], list[Tensor], list[Tensor]]:
        intervals, borders, outputs = [], [], []
        border = torch.empty(0)
        for index, part in enumerate(self.parts):
            entering(f"forward {self.names[index]}")
            inputs = part.inputs(border, batch)
            start = self._clock.now()
            output = part(*inputs)
            intervals.append(Interval(start, self._clock.now()))
            borders.append(border)
            outputs.append(output)
            border = output.detach().requires_grad_()
        return intervals, borders, outputs

    def _backward(
        self, borders: list[Tensor], outputs: list[Tensor], entering: Callable[[str], None]
    ) -> list[Interval]:
        intervals: list[Interval] = []
        gradient: Tensor | None = None
        for index in reversed(range(len(self.parts))):
            entering(f"backward {self.names[index]}")
            output = outputs.pop()
            start = self._clock.now()
            torch.autograd.backward(output, gradient)
            intervals.append(Interval(start, self._clock.now()))
            gradient = borders.pop().grad
            del output
        return intervals[::-1]


def _names(parts: Sequence[Part]) -> list[str]:
    """Name each part after its kind, numbered where a kind stands twice."""
    kinds = [part.kind.value for part in parts]
    return [
        f"{kind}_{kinds[: index + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for index, kind in enumerate(kinds)
    ]
