"""Ranks that train a whole model, in one piece or through a pipeline, and tell what came of it.

Each parameter gets random numbers that are the model's, whatever the number of stages: seeded by layer id, place in
the part, and tensor parallel rank.
"""

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch

from sailor_exp.messages import Finished

LEARNING_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class Asked:
    overrides: tuple[str, ...]
    tp: int
    pp: int
    num_microbatches: int
    directory: Path


@dataclass(frozen=True, kw_only=True)
class Told:
    """parameters: by layer id, after one step; losses: of two steps; phases: of the second."""

    parameters: dict[int, list[torch.Tensor]]
    losses: list[float]
    phases: list[str]


def path_of(directory: Path, rank: int) -> Path:
    return directory / f"told{rank}.pt"


def train(rank, pipe, asked: Asked) -> None:
    from sailor_exp.model import batch_of
    from sailor_exp.training import training_of
    from tests.cells import cell as cell_of

    cell = cell_of(f"tp={asked.tp}", *asked.overrides)
    join(rank, asked, cell)
    device = torch.device("cpu")
    training = training_of(cell, device, pp=asked.pp, num_microbatches=asked.num_microbatches)
    set_parameters(training, tp_rank=rank % asked.tp)
    batches = [shifted(batch_of(cell, device), by, cell.model.vocab_size) for by in range(asked.num_microbatches)]
    losses = [training.step(batches).item()]
    parameters = {number: [p.detach().clone() for p in part.parameters()] for number, part in training.parts.items()}
    phases = []
    losses.append(training.step(batches, phases.append).item())
    torch.save(Told(parameters=parameters, losses=losses, phases=phases), path_of(asked.directory, rank))
    pipe.send(Finished())


def join(rank, asked: Asked, cell) -> None:
    from megatron.core import parallel_state

    from sailor_exp.engine import start_deepspeed

    torch.set_num_threads(1)
    size = asked.tp * asked.pp
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "GLOO_SOCKET_IFNAME": "lo"}
    rendezvous = f"file://{asked.directory / 'rendezvous'}"
    torch.distributed.init_process_group(
        "gloo", init_method=rendezvous, rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    start_deepspeed(cell)
    parallel_state.initialize_model_parallel(asked.tp, asked.pp, create_gloo_process_groups=False)


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
