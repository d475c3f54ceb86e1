"""Ranks that train a whole model, in one piece or through a pipeline, and tell what came of it.

Each parameter gets random numbers that are the model's, whatever the number of stages: seeded by layer id, place in
the part, and tensor parallel rank.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sailor_exp.sweep.messages import Finished

LEARNING_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Asked:
    overrides: tuple[str, ...]
    directory: Path


@dataclass(frozen=True, kw_only=True)
class Told:
    """parameters: by layer id, after one step; losses: of two steps; phases: of the second.

    held_bytes: what the allocator gave out since before the model was built and has not got back, after both steps;
    lasting_bytes: what the training says that it is.
    """

    parameters: dict[int, list[torch.Tensor]]
    losses: list[float]
    phases: list[str]
    held_bytes: int
    lasting_bytes: int


def path_of(directory: Path, rank: int) -> Path:
    return directory / f"told{rank}.pt"


def train(rank, pipe, asked: Asked) -> None:
    from sailor_exp.instruments.footprint import footprint
    from sailor_exp.instruments.peaks import CpuPeakMeter
    from sailor_exp.training.parts import batch_of
    from sailor_exp.training.process_group import join_group
    from sailor_exp.training.whole_model import training_of
    from tests.build.cells import cell as cell_of

    cell, device = cell_of(*asked.overrides), torch.device("cpu")
    join_group(rank, cell, f"file://{asked.directory / 'rendezvous'}")
    batches = [shifted(batch_of(cell, device), by, cell.model.vocab_size) for by in range(cell.num_microbatches)]
    phases = []
    with CpuPeakMeter(lasting_bytes=0) as meter:
        meter.entering("all")
        training = training_of(cell, device)
        set_parameters(training, tp_rank=rank % cell.tp)
        losses = [training.step(batches).item()]
        meter.entering("aside")
        parameters = {
            number: [p.detach().clone() for p in part.parameters()] for number, part in training.parts.items()
        }
        meter.entering("all")
        losses.append(training.step(batches, phases.append).item())
    aside = footprint(parameter for part in parameters.values() for parameter in part).bytes
    told = Told(
        parameters=parameters,
        losses=losses,
        phases=phases,
        held_bytes=meter.phases()["all"].ended - aside,
        lasting_bytes=footprint(training.lasting_tensors()).bytes,
    )
    torch.save(told, path_of(asked.directory, rank))
    pipe.send(Finished())


@torch.no_grad()
def set_parameters(training, tp_rank: int) -> None:
    for layer_id, part in training.parts.items():
        for place, parameter in enumerate(part.parameters()):
            split = getattr(parameter, "tensor_model_parallel", False)
            seed = 10_000 * layer_id + 100 * place + (tp_rank if split else 0)
            generator = torch.Generator().manual_seed(seed)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    if hasattr(training._engine.optimizer, "refresh_fp32_params"):  # bf16 has master weights
        training._engine.optimizer.refresh_fp32_params()
    for group in training._optimizer.param_groups:
        group["lr"] = LEARNING_RATE


def shifted(batch, by, vocab_size):
    return replace(batch, tokens=(batch.tokens + by) % vocab_size, labels=(batch.labels + 7 * by) % vocab_size)
