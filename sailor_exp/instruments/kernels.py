"""Which fused kernels ran, read from autograd's graph: PyTorch chooses them by device, type, shape and version."""

import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor

_FUSED = re.compile(r"^(\w*(?:Norm|Attention)\w*?)Backward\d*$")


def fused_kernels(output: Tensor) -> list[str]:
    """Return the names of the fused norms and attentions behind an output, each once, sorted.

    For example NativeLayerNorm, FusedRmsNorm, ScaledDotProductFlashAttention, ScaledDotProductEfficientAttention. What
    PyTorch computes step by step has no node of its own, and is not in the list.
    """
    names = {node.name() for node in _nodes_behind(output)}
    return sorted(match[1] for name in names if (match := _FUSED.match(name)))


def _nodes_behind(output: Tensor) -> Iterator[Any]:
    waiting, seen = [output.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [before for before, _ in node.next_functions]
