"""The `galvatron` profile in a rank: model states and activations of models of a few layers, on this rank's stage."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from sailor_exp.config.schema import Cell
from sailor_exp.config.stages import profiled_num_layers
from sailor_exp.instruments.footprint import footprint
from sailor_exp.instruments.memory_limit import without_limit
from sailor_exp.instruments.peaks import allocated_bytes, forget_the_past, peak_meter
from sailor_exp.instruments.sampling import Voice
from sailor_exp.profiles.galvatron.measurement import StageMemory, StageShare
from sailor_exp.training.parts import Batch, batch_of
from sailor_exp.training.whole_model import Phase, Training, training_of

_BEFORE = "before forward"


class GalvatronRank:
    """Trains one small model after another, never two at once."""

    def __init__(self, cell: Cell, device: torch.device, voice: Voice) -> None:  # noqa: ARG002
        self._device = device
        self._voice = voice

    def measure(self, cell: Cell) -> StageShare:
        """Measure this rank's stage of each model."""
        return {str(num_layers): self._stage(cell, num_layers) for num_layers in profiled_num_layers(cell.pp)}

    def _stage(self, cell: Cell, num_layers: int) -> StageMemory:
        name = f"{num_layers} layers"
        self._voice.progress(f"building {name}")
        small = replace(cell, model=replace(cell.model, num_layers=num_layers))
        forget_the_past(self._device)
        training = training_of(small, self._device)
        batch = [batch_of(small, self._device)]
        for step in range(cell.sampling.warmup):
            self._voice.progress(f"warm-up {name}", step + 1)
            training.step(batch, self._voice.entering)
        self._voice.progress(f"watching memory of {name}")
        with without_limit():
            memory = observed(training, batch, self._device, self._voice.entering)
        training.release()
        return memory


def observed(
    training: Training, batch: Sequence[Batch], device: torch.device, heard: Callable[[str], None]
) -> StageMemory:
    """Return the figures of one step at the moments of Galvatron's own profiler; `heard` receives the phases.

    Source: PKU-DAIR/Hetu-Galvatron at 229a14d, galvatron/core/profiler.py, `post_profile_memory`: model states are
    what is allocated after the backward, activations what the forward adds, their peak the highest of forward and
    backward above the model states. The update comes later. What DeepSpeed's pipeline keeps between steps (logits,
    receive buffers) is no model state: it is dropped before the step and after its backward, so that it counts as
    allocated by the step.
    """
    training.drop_buffers()
    forget_the_past(device)
    lasting = footprint(training.lasting_tensors()).bytes
    meter = peak_meter(device, lasting, apart_bytes=allocated_bytes(device) - lasting)

    def entering(phase: str) -> None:
        if phase == Phase.reduce:
            training.drop_buffers()
        heard(phase)
        meter.entering(phase)

    with meter:
        meter.entering(_BEFORE)
        training.step(batch, entering)
    phases = meter.phases()
    model_states = phases[Phase.reduce].began
    names = list(phases)
    highest = max(phases[name].highest for name in names[: names.index(Phase.reduce)])
    return StageMemory(
        model_states_bytes=model_states,
        activation_bytes=phases[Phase.forward].ended - phases[_BEFORE].began,
        activation_peak_bytes=highest - model_states,
    )


RANK = GalvatronRank
