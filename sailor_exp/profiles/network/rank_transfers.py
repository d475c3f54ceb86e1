"""The operations of ranks on one size. Each is prepared once, with its buffers, and can run many times.

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

    `size_bytes`: what it works on; for gather and scatter S, rounded down to equal shares of the ranks. On CUDA `run`
    returns when the work is in the current stream.
    """

    size_bytes: int
    run: Callable[[], None]


def prepare(operation: Operation, size_bytes: int, device: torch.device) -> Transfer:
    """Allocate the buffers of an operation on this rank. All ranks of the default group must call it."""
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
    """Prepare one way, from the first half of the ranks to the second, as Sailor's test_sendrecv.py measures it."""
    rank, pairs = torch.distributed.get_rank(), torch.distributed.get_world_size() // 2
    message = _buffer(size_bytes, device)
    sends = rank < pairs
    action = torch.distributed.isend if sends else torch.distributed.irecv
    operations = [torch.distributed.P2POp(action, message, rank + pairs if sends else rank - pairs)]
    return Transfer(size_bytes=size_bytes, run=lambda: _exchange(operations))


def _exchange(operations: list[torch.distributed.P2POp]) -> None:
    for work in torch.distributed.batch_isend_irecv(operations):
        work.wait()


def _all_reduce(size_bytes: int, device: torch.device) -> Transfer:
    whole = _buffer(size_bytes, device)
    return Transfer(size_bytes=size_bytes, run=lambda: _drop(torch.distributed.all_reduce(whole)))


def _all_gather(size_bytes: int, device: torch.device) -> Transfer:
    ranks = torch.distributed.get_world_size()
    part = _buffer(size_bytes // ranks, device)
    whole = _buffer(part.nbytes * ranks, device)
    return Transfer(size_bytes=whole.nbytes, run=lambda: _drop(_all_gather_single(whole, part)))


def _reduce_scatter(size_bytes: int, device: torch.device) -> Transfer:
    ranks = torch.distributed.get_world_size()
    part = _buffer(size_bytes // ranks, device)
    whole = _buffer(part.nbytes * ranks, device)
    return Transfer(size_bytes=whole.nbytes, run=lambda: _drop(_reduce_scatter_single(part, whole)))


def _buffer(size_bytes: int, device: torch.device) -> torch.Tensor:
    """Return zeros that are really written: reads of untouched pages would all read one page of the kernel."""
    return torch.empty(size_bytes // FLOAT_BYTES, device=device).zero_()


def _drop(_: object) -> None:
    """Drop the result: a collective that waits returns none."""


_all_gather_single = getattr(torch.distributed, "all_gather_single", None) or torch.distributed.all_gather_into_tensor
"""torch 2.13 renamed it, and warns of the former name; the same holds for reduce_scatter."""

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
