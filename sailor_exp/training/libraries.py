"""What Megatron-Core and DeepSpeed need to run without CUDA. Only rank processes apply it.

- Megatron-Core's rotary embedding moves its frequencies to `torch.cuda.current_device()`
  (megatron/core/models/common/embeddings/rotary_pos_embedding.py, `get_emb`).
- DeepSpeed compiles a shared-memory all-reduce when it initialises gloo, for half a minute, and fails without a
  compiler (deepspeed/ops/op_builder/cpu/comm.py). gloo's own all-reduce replaces it.
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
    """Let `torch.compile` return a function as it is, while modules are imported."""
    compiler = torch.compile
    torch.compile = _uncompiled  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compiler


def _uncompiled(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    return _uncompiled if function is None else function
