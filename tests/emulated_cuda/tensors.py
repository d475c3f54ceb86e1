"""Which tensors lie on the emulated device, and which calls make the host wait for it.

A tensor on the device is one of the CPU whose storage the emulated allocator holds. `OnDevice` sees what Python calls:
it replaces the device in arguments, and answers when a tensor is asked for its own. `Watched` sees what PyTorch
dispatches, also in a backward: results of tensors on the device lie on it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.emulated_cuda.gpu import Gpu

_CPU = torch.device("cpu")
_FROM_HOST_DATA = {torch.tensor, torch.as_tensor, torch.asarray}
_TO_HOST = {Tensor.tolist: "tolist", Tensor.numpy: "numpy", Tensor.__array__: "numpy"}
_ABOUT_DEVICES = {torch.device, torch._C._nn._parse_to}
_SIZE_FROM_VALUES = {"nonzero", "masked_select", "_unique2", "unique_dim", "equal", "bincount", "histc"}
"""What CUDA waits for: the size of the result, or the result itself, depends on values."""

_LARGE_FLOP = 1e9


class Place:
    """Whether results lie on the device now: not while a tensor goes to the host."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.to_host = False

    @contextmanager
    def host(self) -> Iterator[None]:
        former, self.to_host = self.to_host, True
        try:
            yield
        finally:
            self.to_host = former

    def holds(self, value: object) -> bool:
        return isinstance(value, Tensor) and self.gpu.allocator.holds(value)

    def hold(self, value: object) -> object:
        for tensor in _tensors(value):
            self.gpu.allocator.hold(tensor)
        return value


class OnDevice(TorchFunctionMode):
    """Replaces the device in what Python asks of PyTorch."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in _ABOUT_DEVICES:
            return func(*args, **kwargs)
        answer = _ABOUT_A_TENSOR.get(func)
        if answer is not None and self._place.holds(args[0]):
            return answer(self._place.gpu, func, args, kwargs)
        if func is Tensor.backward:
            return self._backward(*args, **kwargs)
        if func in _TO_HOST and self._place.holds(args[0]):
            self._place.gpu.wait(_TO_HOST[func])
            return func(*args, **kwargs)
        if func in {Tensor.to, Tensor.cuda, Tensor.cpu}:
            return self._moved(func, args, kwargs)
        return self._made(func, args, kwargs)

    def _backward(self, tensor, gradient=None, **keywords):
        """What Python runs inside a backward is to see the device, too: a mode is off within its own calls."""
        with self:
            torch.autograd.backward(tensor, gradient, **keywords)

    def _moved(self, func, args, kwargs):
        tensor, target = args[0], _target(func, args, kwargs, self._place)
        held = self._place.holds(tensor)
        if func is not Tensor.to:
            func, args, kwargs = Tensor.to, (tensor, _CPU), {}
        args, kwargs = tuple(_on_cpu(arg) for arg in args), {name: _on_cpu(arg) for name, arg in kwargs.items()}
        if target is None or (target.type == "cuda") == held:
            return func(*args, **kwargs)
        if held:
            self._place.gpu.wait("copy to the host")
            with self._place.host():
                return func(*args, **kwargs | {"copy": True})
        if not (kwargs.get("non_blocking") or any(arg is True for arg in args)):
            self._place.gpu.wait("copy from the host")
        return self._place.hold(func(*args, **kwargs | {"copy": True}))

    def _made(self, func, args, kwargs):
        """Call a function; what it makes lies where `device` says."""
        device = kwargs.get("device")
        if device is None:
            return func(*[_on_cpu(arg) for arg in args], **kwargs)
        kwargs["device"] = _CPU
        if not _is_cuda(device):
            with self._place.host():
                return func(*args, **kwargs | {"device": device})
        if func in _FROM_HOST_DATA:
            self._place.gpu.wait("copy from the host")
        return self._place.hold(func(*args, **kwargs))


class Watched(TorchDispatchMode):
    """Holds what is computed from tensors on the device, and counts what makes the host wait."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        inputs = list(_tensors((args, kwargs)))
        held = [tensor for tensor in inputs if self._place.holds(tensor)]
        if held and (why := _reason_to_wait(func, args, held, self._place)) is not None:
            self._place.gpu.wait(why)
        results = self._product(func, args, kwargs) if held else None
        if results is None:
            results = func(*args, **kwargs)
        if held and not self._place.to_host:
            of_the_host = {tensor.untyped_storage()._cdata for tensor in inputs if not self._place.holds(tensor)}
            for tensor in _tensors(results):
                if tensor.untyped_storage()._cdata not in of_the_host:
                    self._place.hold(tensor)
        return results

    def _product(self, func, args, kwargs) -> Tensor | None:
        """The result of a large product, which is not computed: the device is busy with it. None for all else."""
        if func.__name__.partition(".")[0] != "mm":
            return None
        left, right = args
        flop = 2 * left.size(0) * left.size(1) * right.size(1)
        if flop < _LARGE_FLOP:
            return None
        self._place.gpu.compute(flop, left.dtype)
        return kwargs["out"] if "out" in kwargs else left.new_zeros(left.size(0), right.size(1))


def _reason_to_wait(func, args, held, place: Place) -> str | None:
    name = func.__name__.partition(".")[0]
    if name == "_local_scalar_dense":
        return "item"
    if name in _SIZE_FROM_VALUES:
        return name
    if name in {"index", "index_put", "index_put_", "_index_put_impl_"} and _masks(args[1]):
        # One value under a mask is a masked_fill. Source: aten/src/ATen/native/TensorAdvancedIndexing.cpp.
        return None if name != "index" and args[2].numel() == 1 else "index by a mask"
    if name == "copy_" and place.holds(args[0]) != place.holds(args[1]) and args[1].dim() > 0:
        return "copy between host and device"
    return None


def _masks(indices: Iterable[Tensor | None]) -> bool:
    return any(index is not None and index.dtype in {torch.bool, torch.uint8} for index in indices)


def _tensors(nested: object) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, dict):
        yield from _tensors(list(nested.values()))
    elif isinstance(nested, list | tuple):
        for item in nested:
            yield from _tensors(item)


def _is_cuda(device: object) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, int) or (isinstance(device, str) and device.startswith("cuda"))


def _on_cpu(argument: object) -> object:
    named = isinstance(argument, torch.device) or (isinstance(argument, str) and argument.startswith("cuda"))
    return _CPU if named and _is_cuda(argument) else argument


def _target(func, args, kwargs, place: Place) -> torch.device | None:
    """Where `to`, `cuda` or `cpu` puts a tensor; None where only the type changes."""
    if func is Tensor.cpu:
        return _CPU
    if func is Tensor.cuda:
        return place.gpu.device
    for argument in (kwargs.get("device"), *args[1:]):
        if isinstance(argument, Tensor):
            return place.gpu.device if place.holds(argument) else _CPU
        if _is_cuda(argument) and not isinstance(argument, bool):
            return place.gpu.device
        if isinstance(argument, torch.device | str):
            return torch.device(argument)
    return None


def _type(gpu: Gpu, func, args, kwargs):
    if len(args) > 1 or kwargs:
        return func(*args, **kwargs)
    return func(*args).replace("torch.", "torch.cuda.")


_ABOUT_A_TENSOR = {
    Tensor.device.__get__: lambda gpu, *_: gpu.device,
    Tensor.is_cuda.__get__: lambda *_: True,
    Tensor.is_cpu.__get__: lambda *_: False,
    Tensor.get_device: lambda gpu, *_: gpu.index,
    Tensor.type: _type,
    Tensor.record_stream: lambda *_: None,
}
