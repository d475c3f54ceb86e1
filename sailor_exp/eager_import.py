"""Imports Megatron-Core with its fused functions as they are written.

Megatron-Core wraps them in `torch.compile` when it is imported, and that imports TorchInductor: 1.5 of 4 seconds here.
No configuration of this project uses a fused function (`sailor_exp.model.transformer_config`), and none may be
compiled in the middle of a measurement.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def without_compiling() -> Iterator[None]:
    """While modules are imported, `torch.compile` gives a function back as it is."""
    compiling = torch.compile
    torch.compile = _as_it_is  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compiling


def _as_it_is(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    return _as_it_is if function is None else function
