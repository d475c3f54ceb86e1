"""Watches one step of a chain: what each part keeps for its backward, and its peak.

Saved-tensor hooks see every tensor that autograd keeps for a backward. Storages are counted once; what lasts between
steps (parameters, masks) is not counted.
"""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sailor_exp.instruments.footprint import Footprint, each_kept, footprint
from sailor_exp.instruments.kernels import fused_kernels
from sailor_exp.instruments.peaks import peak_meter
from sailor_exp.training.chain import Chain, StepIntervals
from sailor_exp.training.parts import Batch


@dataclass(frozen=True, kw_only=True)
class PartFootprint:
    """Memory of one part of the chain in one step; peaks in bytes above the start of the phase."""

    params: Footprint
    entered: Footprint
    handed_on: Footprint
    kept: Footprint
    peak_forward_bytes: int
    peak_backward_bytes: int
    peak_update_bytes: int


@dataclass(frozen=True, kw_only=True)
class StepFootprint:
    """Memory of one step on this rank, the figures of allocator and device for the whole process, and fused kernels."""

    parts: list[PartFootprint]
    peak_bytes: int
    reserved_bytes: int | None
    device_used_bytes: int | None
    kernels: list[str]


class MemoryObserver:
    """Runs one step of a chain and watches its memory. Optimizer states must exist: run a step before."""

    def __init__(self, chain: Chain, device: torch.device, *, apart_bytes: int) -> None:
        self._chain = chain
        self._device = device
        lasting = footprint(chain.engine.lasting_tensors())
        self._meter = peak_meter(device, lasting.bytes, apart_bytes=apart_bytes)
        self._kept: dict[str, Footprint] = defaultdict(Footprint)
        self._handed_on: dict[str, Footprint] = defaultdict(Footprint)
        self._entered: dict[str, Footprint] = defaultdict(Footprint)
        self._phase = ""
        self._kernels: list[str] = []

    def step(self, batch: Batch) -> tuple[StepIntervals, StepFootprint]:
        """Run the step; return the chain's intervals and the footprint."""
        with ExitStack() as stack:
            for part in self._chain.parts:
                stack.callback(part.register_forward_pre_hook(self._note_inputs).remove)
                for outlet in part.outlets():
                    stack.callback(outlet.register_forward_hook(self._note_output).remove)
            stack.callback(self._chain.parts[-1].register_forward_hook(self._note_kernels).remove)
            stack.enter_context(each_kept(self._chain.parts, self._note_kept))
            stack.enter_context(self._meter)
            intervals = self._chain.step(batch, self._entering)
        return intervals, self._footprint()

    def _entering(self, phase: str) -> None:
        self._phase = phase
        self._meter.entering(phase)

    def _note_inputs(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        for tensor in inputs:
            self._entered[self._phase].add(tensor)

    def _note_output(self, _: nn.Module, __: Any, output: Tensor | tuple[Tensor, ...]) -> None:
        self._handed_on[self._phase].add(output if isinstance(output, Tensor) else output[0])

    def _note_kernels(self, _: nn.Module, __: Any, loss: Tensor) -> None:
        self._kernels = fused_kernels(loss)

    def _note_kept(self, tensor: Tensor) -> None:
        self._kept[self._phase].add(tensor)

    def _footprint(self) -> StepFootprint:
        peaks = self._meter.peaks()
        on_cuda = self._device.type == "cuda"
        parts = [
            PartFootprint(
                params=footprint(part.parameters()),
                entered=self._entered[f"forward {name}"],
                handed_on=self._handed_on[f"forward {name}"],
                kept=self._kept[f"forward {name}"],
                peak_forward_bytes=peaks[f"forward {name}"],
                peak_backward_bytes=peaks[f"backward {name}"],
                peak_update_bytes=peaks[f"update {name}"],
            )
            for name, part in zip(self._chain.names, self._chain.parts, strict=True)
        ]
        return StepFootprint(
            parts=parts,
            peak_bytes=self._meter.peak(),
            reserved_bytes=torch.cuda.memory_reserved(self._device) if on_cuda else None,
            device_used_bytes=_device_used_bytes(self._device) if on_cuda else None,
            kernels=self._kernels,
        )


def _device_used_bytes(device: torch.device) -> int:
    free, total = torch.cuda.mem_get_info(device)
    return total - free
