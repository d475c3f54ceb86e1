"""What ranks do together on one size: each is prepared once, with its buffers, and run as often as is asked.

Legend: n ranks in the group, S bytes of fp32 zeros.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed

from sailor_exp.profiles.network.operations import FLOAT_BYTES, Operation


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One operation on one size, ready to run.

    `size_bytes`: what it works on; for collectives S without what does not divide by the ranks. On CUDA `run` returns
    when the work is in the current stream.
    """

    size_bytes: int
    run: Callable[[], None]


def prepare(operation: Operation, size_bytes: int, device: torch.device) -> Transfer:
    """Allocate what an operation on so many bytes needs on this rank. All ranks of the default group call it."""
    return _PREPARE[operation](size_bytes, device)


def _ring(size_bytes: int, device: torch.device) -> Transfer:
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    sent, received = (_buffer(size_bytes, device) for _ in range(2))
    operations = [
        torch.distributed.P2POp(torch.distributed.isend, sent, (rank + 1) % ranks),
        torch.distributed.P2POp(torch.distributed.irecv, received, (rank - 1) % ranks),
    ]
    return Transfer(size_bytes=size_bytes, run=lambda: _exchange(operations))


def _pairs(size_bytes: int, device: torch.device) -> Transfer:
    """One way, from the first half of the ranks to the second, as Sailor's test_sendrecv.py measures it."""
    rank, pairs = torch.distributed.get_rank(), torch.distributed.get_world_size() // 2
    here = _buffer(size_bytes, device)
    sends = rank < pairs
    action = torch.distributed.isend if sends else torch.distributed.irecv
    operations = [torch.distributed.P2POp(action, here, rank + pairs if sends else rank - pairs)]
    return Transfer(size_bytes=size_bytes, run=lambda: _exchange(operations))


def _exchange(operations: list[torch.distributed.P2POp]) -> None:
    for work in torch.distributed.batch_isend_irecv(operations):
        work.wait()


def _all_reduce(size_bytes: int, device: torch.device) -> Transfer:
    whole = _buffer(size_bytes, device)
    return Transfer(size_bytes=size_bytes, run=lambda: _done(torch.distributed.all_reduce(whole)))


def _all_gather(size_bytes: int, device: torch.device) -> Transfer:
    ranks = torch.distributed.get_world_size()
    part = _buffer(size_bytes // ranks, device)
    whole = _buffer(part.nbytes * ranks, device)
    return Transfer(size_bytes=whole.nbytes, run=lambda: _done(_all_gather_single(whole, part)))


def _reduce_scatter(size_bytes: int, device: torch.device) -> Transfer:
    ranks = torch.distributed.get_world_size()
    part = _buffer(size_bytes // ranks, device)
    whole = _buffer(part.nbytes * ranks, device)
    return Transfer(size_bytes=whole.nbytes, run=lambda: _done(_reduce_scatter_single(part, whole)))


def _buffer(size_bytes: int, device: torch.device) -> torch.Tensor:
    """Zeros that are written: pages that were only promised would be read from one page of the kernel's."""
    return torch.empty(size_bytes // FLOAT_BYTES, device=device).zero_()


def _done(_: object) -> None:
    """Collectives that wait return nothing."""


_all_gather_single = getattr(torch.distributed, "all_gather_single", None) or torch.distributed.all_gather_into_tensor
"""torch 2.13 renamed it, and warns of the former name; so with reduce_scatter."""

_reduce_scatter_single = (
    getattr(torch.distributed, "reduce_scatter_single", None) or torch.distributed.reduce_scatter_tensor
)

_PREPARE: dict[Operation, Callable[[int, torch.device], Transfer]] = {
    Operation.ring: _ring,
    Operation.pairs: _pairs,
    Operation.all_reduce: _all_reduce,
    Operation.all_gather: _all_gather,
    Operation.reduce_scatter: _reduce_scatter,
}
