"""One training step of a small model of a few parts, with marks between the parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sailor_exp.config.schema import Cell
from sailor_exp.instruments.clock import Clock, Interval
from sailor_exp.training.engine import Engine, UpdateIntervals
from sailor_exp.training.parts import Batch, Part, build_parts


@dataclass(frozen=True, kw_only=True)
class PartIntervals:
    """Intervals of one part in one step; `accumulate` is None where the backward accumulates by itself."""

    forward: Interval
    backward: Interval
    accumulate: Interval | None


@dataclass(frozen=True, kw_only=True)
class StepIntervals:
    """Intervals of one step: of each part, in the order of the model, and of DeepSpeed's step."""

    parts: list[PartIntervals]
    update: UpdateIntervals


def _ignore(_: str) -> None:
    return


class Chain:
    """Parts in the order of the model, which DeepSpeed trains as one model.

    The graph is not cut. The backward calls a hook on the tensor between two parts when the gradient of that tensor is
    complete, just before it enters the earlier part. Nodes run in the reverse order of their creation, so everything of
    the later part has run by then. Source: torch/csrc/autograd/engine.cpp, sequence numbers.
    """

    def __init__(self, cell: Cell, device: torch.device, clock: Clock) -> None:
        self.parts = build_parts(cell, device)
        self.names = _names(self.parts)
        self.engine = Engine(self.parts, cell, clock)
        self._clock = clock
        # In bf16 DeepSpeed's hooks accumulate into fp32 buffers during the backward, and leave no `.grad` to add to.
        self.accumulates = cell.precision.fp32_tensors

    def step(self, batch: Batch, entering: Callable[[str], None] = _ignore) -> StepIntervals:
        """Run one step; `entering` receives `"{phase} {part}"` before each phase of each part."""
        marks = _BackwardMarks(self._clock, self.names, entering)
        forwards, loss = self._forward(batch, marks, entering)
        backwards = marks.backward(loss)
        del loss
        accumulates = self._accumulate(entering)
        entering("update")
        update = self.engine.step(lambda index: entering(f"update {self.names[index]}"))
        return StepIntervals(
            parts=[
                PartIntervals(forward=forward, backward=backward, accumulate=accumulate)
                for forward, backward, accumulate in zip(forwards, backwards, accumulates, strict=True)
            ],
            update=update,
        )

    def _forward(
        self, batch: Batch, marks: "_BackwardMarks", entering: Callable[[str], None]
    ) -> tuple[list[Interval], Tensor]:
        intervals = []
        hidden = torch.empty(0)
        for index, part in enumerate(self.parts):
            entering(f"forward {self.names[index]}")
            inputs = part.inputs(hidden, batch)
            start = self._clock.now()
            hidden = part(*inputs)
            intervals.append(Interval(start, self._clock.now()))
            if index < len(self.parts) - 1:
                marks.watch(hidden, index)
        return intervals, hidden

    def _accumulate(self, entering: Callable[[str], None]) -> list[Interval | None]:
        """Add 0 times the parameter to every gradient, in the order of the backward. No gradient changes.

        The memory traffic is that of another microbatch's gradient: two tensors are read and one is written.
        """
        if not self.accumulates:
            return [None] * len(self.parts)
        intervals: list[Interval | None] = []
        for name, part in zip(reversed(self.names), reversed(self.parts), strict=True):
            entering(f"accumulate {name}")
            start = self._clock.now()
            for parameter in part.parameters():
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach(), alpha=0)
            intervals.append(Interval(start, self._clock.now()))
        return intervals[::-1]


class _BackwardMarks:
    """Marks the moments when the backward goes from one part to the part before it."""

    def __init__(self, clock: Clock, names: Sequence[str], entering: Callable[[str], None]) -> None:
        self._clock = clock
        self._names = names
        self._entering = entering
        self._marks: list[object] = []

    def watch(self, output: Tensor, index: int) -> None:
        """Mark the moment when the backward enters the part at `index`, whose output is `output`."""

        def mark(_: Tensor) -> None:
            self._marks.append(self._clock.now())
            self._entering(f"backward {self._names[index]}")

        output.register_hook(mark)  # type: ignore[no-untyped-call]

    def backward(self, loss: Tensor) -> list[Interval]:
        """Run the backward of the whole chain; return the interval of each part, in the order of the model."""
        self._entering(f"backward {self._names[-1]}")
        self._marks.append(self._clock.now())
        loss.backward()  # type: ignore[no-untyped-call]
        self._marks.append(self._clock.now())
        borders = list(zip(self._marks, self._marks[1:], strict=False))
        return [Interval(start, stop) for start, stop in reversed(borders)]


def _names(parts: Sequence[Part]) -> list[str]:
    """Return a name for each part: its kind, with a number if the kind occurs twice."""
    kinds = [part.kind.value for part in parts]
    return [
        f"{kind}_{kinds[: index + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for index, kind in enumerate(kinds)
    ]
