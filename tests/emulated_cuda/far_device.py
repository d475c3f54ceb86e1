"""A device whose backward runs in a thread of its own, as CUDA's does: tensors that another one carries, in Python.

PyTorch's engine runs the nodes of a device in the thread of that device, and those of the CPU in the caller's.
Source: torch/csrc/autograd/engine.cpp, `Engine::start_device_threads`. The device cannot be taken away again: use a
process of its own.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_NEAR = torch.device("cpu")
_FACTORIES = torch.library.Library("aten", "IMPL")


class Far(Tensor):
    """A tensor on the far device; `near` carries its values."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Self:
        return Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), dtype=near.dtype, device="far:0", requires_grad=False
        )

    def __init__(self, near: Tensor) -> None:
        self.near = near

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        results = func(*tree_map(_near, args), **tree_map(_near, kwargs or {}))
        known = {id(far.near): far for far in args if isinstance(far, Far)}
        return tree_map(lambda result: _far(result, known), results)


def start() -> None:
    """Give this process the device. Its thread starts with the first backward: call this before."""
    _setup_privateuseone_for_python_backend("far")
    for name in ("empty.memory_format", "empty_strided", "arange.start_step"):
        _FACTORIES.impl(name, _made_near(name), "PrivateUse1")


def _made_near(name: str) -> Callable[..., Far]:
    """A factory, which no tensor leads to this class."""
    packet, _, overload = name.partition(".")
    make = getattr(getattr(torch.ops.aten, packet), overload or "default")
    return lambda *args, **kwargs: Far(make(*args, **kwargs | {"device": _NEAR, "pin_memory": False}))


def move(module: nn.Module) -> None:
    """Put the parameters of a module on the device."""
    for child in module.modules():
        for name, parameter in list(child._parameters.items()):
            if parameter is not None:
                setattr(child, name, nn.Parameter(Far(parameter.detach())))


def _near(value: object) -> object:
    if isinstance(value, torch.device):
        return _NEAR
    return value.near if isinstance(value, Far) else value


def _far(result: object, known: dict[int, Far]) -> object:
    if not isinstance(result, Tensor):
        return result
    return known[id(result)] if id(result) in known else Far(result)
