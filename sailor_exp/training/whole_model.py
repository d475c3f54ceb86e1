"""Real training steps of a whole model through DeepSpeed, with one engine or through its pipeline.

Nothing is measured here: `entering` receives the phases of a step, at the cost of one call a phase. The numbers of
ranks are those of Megatron-Core and of DeepSpeed's topology: rank = stage x tp + tensor parallel rank.

Legend: s sequence, b microbatch, h hidden size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol

import torch
import torch.distributed
from torch import Tensor, nn

from sailor_exp.config.schema import Cell
from sailor_exp.config.stages import stage_layer_ids
from sailor_exp.errors import UpdateSkippedError
from sailor_exp.instruments.memory_limit import without_limit
from sailor_exp.training.engine import ModelParallelUnit, initialize, lasting_tensors, release
from sailor_exp.training.parts import Batch, Head, Part, build_layer, mean_loss


class Phase(StrEnum):
    """The phases of a training step; a step with several microbatches repeats most of them."""

    load = "load batch"
    forward = "forward"
    send_activations = "send activations"
    receive_activations = "receive activations"
    backward = "backward"
    send_gradients = "send gradients"
    receive_gradients = "receive gradients"
    reduce = "reduce gradients"
    update = "update"
    loss = "mean loss"


Entering = Callable[[str], None]


def _ignore(_: str) -> None:
    return


class Training(Protocol):
    """A model that is trained, or the stage of it that this rank holds.

    parts: of this rank, by layer id.
    """

    parts: dict[int, Part]

    def step(self, batches: Sequence[Batch], entering: Entering = _ignore) -> Tensor:
        """Train on the cell's `num_microbatches`; return the mean loss, on every rank.

        Raises UpdateSkippedError if a gradient was not finite.
        """

    def lasting_tensors(self) -> list[Tensor]:
        """Return what stays allocated between steps."""

    def drop_buffers(self) -> None:
        """Release what is kept between steps and is no model state. All ranks must call it at the same step."""

    def release(self) -> None:
        """Release the model, so that nothing of it stays allocated beside the next one."""


def training_of(cell: Cell, device: torch.device) -> Training:
    """Build this rank's share of the whole model. Needs the group of `join_group`."""
    with _shared_groups():
        return WholeModel(cell, device) if cell.pp == 1 else Pipeline(cell, device)


class WholeModel:
    """All parts in one DeepSpeed engine, which adds up the gradients of all microbatches before the update."""

    def __init__(self, cell: Cell, device: torch.device) -> None:
        [layer_ids] = stage_layer_ids(cell.model, 1)
        self.parts = {layer_id: build_layer(cell, layer_id, device) for layer_id in layer_ids}
        module = FullModel(list(self.parts.values()))
        self._engine, self._optimizer = initialize(
            module, cell, mpu=ModelParallelUnit(), num_microbatches=cell.num_microbatches
        )
        # As in DeepSpeed's pipeline, gradients are reduced in a phase of its own, not at the end of the backward.
        self._engine.enable_backward_allreduce = False

    def step(self, batches: Sequence[Batch], entering: Entering = _ignore) -> Tensor:
        losses = []
        with _no_update_skipped(self._engine):
            for batch in batches:
                entering(Phase.forward)
                loss = self._engine(batch.tokens, batch.positions, batch.labels)
                losses.append(loss.detach())
                entering(Phase.backward)
                self._engine.backward(loss)
                del loss
                entering(Phase.reduce)
                self._engine.allreduce_gradients()
                entering(Phase.update)
                self._engine.step()
        entering(Phase.loss)
        return torch.stack(losses).mean()

    def lasting_tensors(self) -> list[Tensor]:
        return lasting_tensors(self._engine, self._optimizer)

    def drop_buffers(self) -> None:
        return

    def release(self) -> None:
        release(self._engine)


class Pipeline:
    """One stage of DeepSpeed's pipeline: forward and backward in turn, and an update at the end of the step."""

    def __init__(self, cell: Cell, device: torch.device) -> None:
        from deepspeed.pipe import LayerSpec, PipelineModule
        from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology

        # One specification a stage, so that the split is ours, and a rank builds only its own stage.
        module = PipelineModule(
            layers=[LayerSpec(_Stage, cell, device, layer_ids) for layer_ids in stage_layer_ids(cell.model, cell.pp)],
            topology=PipeModelDataParallelTopology(num_pp=cell.pp, num_mp=cell.tp, num_dp=1),
            loss_fn=mean_loss,
            partition_method="uniform",
        )
        [stage] = module.forward_funcs
        self.parts: dict[int, Part] = stage.parts_by_layer_id()
        self._engine, self._optimizer = initialize(module, cell, mpu=None, num_microbatches=cell.num_microbatches)
        self._entering: Entering = _ignore
        self._engine._INSTRUCTION_MAP = dict(self._instructions_with_phases())  # noqa: SLF001

    def step(self, batches: Sequence[Batch], entering: Entering = _ignore) -> Tensor:
        self._entering = entering
        with _no_update_skipped(self._engine):
            microbatches = (((batch.tokens, batch.positions), batch.labels) for batch in batches)
            return self._engine.train_batch(microbatches)  # type: ignore[no-any-return]

    def lasting_tensors(self) -> list[Tensor]:
        engine = self._engine
        kept = [engine.pipe_buffers, engine.pipe_recv_buf, engine.grad_layer]
        return [*lasting_tensors(engine, self._optimizer), *_tensors_in(kept)]

    def drop_buffers(self) -> None:
        """Release inputs, logits, loss and receive buffers, which DeepSpeed keeps until the next step."""
        for slots in self._engine.pipe_buffers.values():
            slots[:] = [None] * len(slots)
        self._engine.loss = None
        self._engine.reset_activation_shape()

    def release(self) -> None:
        release(self._engine)

    def _instructions_with_phases(self) -> Iterator[tuple[type, Callable[..., None]]]:
        from deepspeed.runtime.pipe import schedule

        phases = {
            schedule.LoadMicroBatch: Phase.load,
            schedule.ForwardPass: Phase.forward,
            schedule.SendActivation: Phase.send_activations,
            schedule.RecvActivation: Phase.receive_activations,
            schedule.BackwardPass: Phase.backward,
            schedule.SendGrad: Phase.send_gradients,
            schedule.RecvGrad: Phase.receive_gradients,
            schedule.ReduceTiedGrads: Phase.reduce,
            schedule.ReduceGrads: Phase.reduce,
            schedule.OptimizerStep: Phase.update,
        }
        for instruction, run in self._engine._INSTRUCTION_MAP.items():  # noqa: SLF001
            yield instruction, self._with_phase(phases[instruction], run)

    def _with_phase(self, phase: Phase, run: Callable[..., None]) -> Callable[..., None]:
        def run_with_phase(engine: Any, **keywords: Any) -> None:
            self._entering(phase)
            run(engine, **keywords)
            if phase is Phase.update:
                self._entering(Phase.loss)

        return run_with_phase


class _Stage(nn.Module):
    """The parts of one stage: from token ids and positions or (s, b, h), to (s, b, h) or logits."""

    def __init__(self, cell: Cell, device: torch.device, layer_ids: Iterable[int]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({str(layer_id): build_layer(cell, layer_id, device) for layer_id in layer_ids})

    def parts_by_layer_id(self) -> dict[int, Part]:
        return {int(layer_id): part for layer_id, part in self.parts.items() if isinstance(part, Part)}

    def forward(self, entered: Tensor | tuple[Tensor, ...]) -> Tensor:
        inputs = entered if isinstance(entered, tuple) else (entered,)
        for part in self.parts.values():
            inputs = (part.logits(*inputs) if isinstance(part, Head) else part(*inputs),)
        return inputs[0]


@contextmanager
def _shared_groups() -> Iterator[None]:
    """Let DeepSpeed reuse the process group of the same ranks. A new group is outside the memory budget.

    A pipeline asks for about ten groups. Each has gloo's own threads, whose stacks are no memory of the model; a thread
    that gets no stack leaves its peers waiting.
    """
    import deepspeed

    new_group = deepspeed.comm.new_group

    def shared_group(ranks: Sequence[int]) -> Any:
        key = (torch.distributed.group.WORLD, *ranks)
        if key not in _GROUPS:
            with without_limit():
                _GROUPS[key] = new_group(list(ranks))
        return _GROUPS[key]

    deepspeed.comm.new_group = shared_group
    try:
        yield
    finally:
        deepspeed.comm.new_group = new_group


_GROUPS: dict[tuple[Any, ...], Any] = {}
"""Process groups that DeepSpeed has requested, by the group of all ranks and the ranks in it."""


@contextmanager
def _no_update_skipped(engine: Any) -> Iterator[None]:
    before = engine.skipped_steps
    yield
    if engine.skipped_steps != before:
        raise UpdateSkippedError


def _tensors_in(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, dict):
        yield from _tensors_in(list(nested.values()))
    elif isinstance(nested, list | tuple):
        for item in nested:
            yield from _tensors_in(item)


class FullModel(nn.Module):
    """Parts one after another, without marks; returns the loss, a scalar."""

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, tokens: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        batch = Batch(tokens=tokens, positions=positions, labels=labels)
        hidden = torch.empty(0)
        for part in self.parts:
            hidden = part(*part.inputs(hidden, batch))  # type: ignore[operator]
        return hidden
