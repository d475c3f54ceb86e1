"""Counts the storages behind tensors, and those that autograd keeps for a backward."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Footprint:
    """Elements and bytes of storages. Each storage counts once."""

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
    """Count what autograd keeps inside the block, except parameters and buffers of the modules, which last."""
    kept = Footprint()
    with each_kept(modules, kept.add):
        yield kept


@contextmanager
def each_kept(modules: Iterable[nn.Module], note: Callable[[Tensor], None]) -> Iterator[None]:
    """Call `note` with each tensor that autograd keeps inside the block, except parameters and buffers of modules."""
    lasting = {
        tensor.untyped_storage().data_ptr()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    }

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in lasting:
            note(tensor)
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, _unpack):
        yield


def _unpack(tensor: Tensor) -> Tensor:
    return tensor
