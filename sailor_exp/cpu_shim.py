"""What Megatron-Core and DeepSpeed need to run where there is no CUDA. Applied in rank processes only.

- Megatron-Core's rotary embedding moves its frequencies to `torch.cuda.current_device()`
  (megatron/core/models/common/embeddings/rotary_pos_embedding.py, `get_emb`).
- DeepSpeed compiles a shared-memory all-reduce when it initialises gloo, for half a minute, and fails without a
  compiler (deepspeed/ops/op_builder/cpu/comm.py); gloo's own all-reduce serves as well.
"""

import torch


def apply() -> None:
    """Point both libraries at the CPU. Safe to call again."""
    import deepspeed.ops
    from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder

    torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment, return-value]
    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False
