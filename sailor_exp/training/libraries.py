"""What Megatron-Core and DeepSpeed need to run where there is no CUDA. Applied in rank processes only.

- Megatron-Core's rotary embedding moves its frequencies to `torch.cuda.current_device()`
  (megatron/core/models/common/embeddings/rotary_pos_embedding.py, `get_emb`).
- DeepSpeed compiles a shared-memory all-reduce when it initialises gloo, for half a minute, and fails without a
  compiler (deepspeed/ops/op_builder/cpu/comm.py); gloo's own all-reduce serves as well.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


def apply() -> None:
    """Point both libraries at the CPU. Safe to call again."""
    import deepspeed.ops
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

    torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment, return-value]
    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False


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
