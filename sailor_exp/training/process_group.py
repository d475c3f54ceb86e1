"""Makes a process a rank of a group, for torch.distributed, DeepSpeed and Megatron-Core."""

import os
from datetime import timedelta

import torch
import torch.distributed

from sailor_exp.config.schema import Cell, Device
from sailor_exp.instruments.cuda_settings import allow_tf32, tf32_asked
from sailor_exp.instruments.network_address import address_towards, host_of, interface_of
from sailor_exp.records.provenance import THREADS_PER_RANK


def join_group(rank: int, cell: Cell, init_method: str, *, with_model: bool = True) -> None:
    """Make this process the given rank of the cell's group.

    Tensor parallel ranks are neighbours; pipeline stages are `tp` apart. init_method: a place that no other group used.
    with_model: whether DeepSpeed and Megatron-Core join, too.
    """
    world_size = cell.ranks * cell.nodes
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank % cell.ranks), "WORLD_SIZE": str(world_size)}
    os.environ["MASTER_ADDR"] = host_of(init_method)
    _choose_interface(cell)
    if cell.gpu.device is Device.cpu:
        torch.set_num_threads(THREADS_PER_RANK)
    torch.distributed.init_process_group(
        cell.gpu.backend.value,
        init_method=init_method,
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=cell.stall_s + 60),
    )
    if with_model:
        from megatron.core import parallel_state

        _start_deepspeed(cell)
        parallel_state.initialize_model_parallel(cell.tp, cell.pp, create_gloo_process_groups=False)
    allow_tf32(allowed=tf32_asked(cell, about_model=with_model))
    torch.manual_seed(rank)


def _choose_interface(cell: Cell) -> None:
    """Let gloo, and NCCL between machines, use the interface towards the first rank unless the user has named one.

    NCCL takes any interface that is up, also one that other machines cannot reach; inside a machine that is no matter.
    `=` makes it take the name as a whole, not as a prefix.
    """
    if cell.gpu.device is Device.cpu:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface_towards_the_first() or "lo")
    elif cell.nodes > 1 and (interface := _interface_towards_the_first()) is not None:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={interface}")


def _interface_towards_the_first() -> str | None:
    return interface_of(address_towards(os.environ["MASTER_ADDR"]))


def _start_deepspeed(cell: Cell) -> None:
    """Let DeepSpeed use the process group of torch.distributed."""
    import deepspeed

    if cell.gpu.device is Device.cpu:
        from sailor_exp.training import libraries

        libraries.apply()
    deepspeed.init_distributed(dist_backend=cell.gpu.backend.value, auto_mpi_discovery=False, verbose=False)
