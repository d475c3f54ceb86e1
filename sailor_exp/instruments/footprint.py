"""Counts the storages behind tensors, and what autograd keeps for a backward."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed
from torch import Tensor, nn


@dataclass
class Footprint:
    """Storages, each counted once: how many elements and bytes."""

    floats: int = 0
    bytes: int = 0
    _seen: set[int] = field(default_factory=set, repr=False)

    def add(self, tensor: Tensor) -> None:
        """Count the storage behind a tensor, in elements of its type."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self._seen:
            return
        self._seen.add(storage.data_ptr())
        self.bytes += storage.nbytes()
        self.floats += storage.nbytes() // tensor.element_size()


def footprint(tensors: Iterable[Tensor]) -> Footprint:
    """Return elements and bytes of the storages behind some tensors."""
    total = Footprint()
    for tensor in tensors:
        total.add(tensor)
    return total


@contextmanager
def kept_for_backward(modules: Iterable[nn.Module]) -> Iterator[Footprint]:
    """Count what autograd keeps inside the block, without what lasts: parameters and buffers of the modules."""
    kept, lasting = Footprint(), _lasting_storages(modules)

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in lasting:
            kept.add(tensor)
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
        yield kept


def _lasting_storages(modules: Iterable[nn.Module]) -> set[int]:
    lasting = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
    return {tensor.untyped_storage().data_ptr() for tensor in lasting}


def _unpack(tensor: Tensor) -> Tensor:
    return tensor
