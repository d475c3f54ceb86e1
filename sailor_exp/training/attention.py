"""The attention kernel between query, key, value and the output projection, for any device.

Megatron-Core's own kernel needs a CUDA random-number tracker. `unfused` computes the same step by step; `sdpa` passes
it to PyTorch, which chooses a flash or memory-efficient kernel if it has one. Neither has dropout: at dropout 0 the
tracker is all that Megatron-Core's kernel would add.

Legend: s sequence, b batch, n heads of this rank, g query groups of this rank, d head dimension.
"""

import math
from typing import Any

import torch
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.utils import is_layer_window_attention
from torch import Tensor


class _CoreAttention(MegatronModule):  # type: ignore[misc, unused-ignore]
    """Causal attention, within a window if the configuration gives this layer one.

    Takes what Megatron's SelfAttention passes: query (s, b, n, d), key and value (s, b, g, d); returns (s, b, n d).
    """

    def __init__(self, config: TransformerConfig, layer_number: int, *_: Any, **__: Any) -> None:
        super().__init__(config=config)
        windowed = is_layer_window_attention(config.window_size, config.window_attn_skip_freq, layer_number)
        self.window: int | None = config.window_size[0] + 1 if windowed else None
        self.hidden: Tensor | None
        self.register_buffer("hidden", None, persistent=False)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        repeats = query.size(2) // key.size(2)
        if repeats > 1:
            key = key.repeat_interleave(repeats, dim=2)
            value = value.repeat_interleave(repeats, dim=2)
        query, key, value = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))
        context = self.attend(query, key, value)
        batch, heads, sequence, head_dim = context.shape
        return context.permute(2, 0, 1, 3).reshape(sequence, batch, heads * head_dim)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the context of every head; all tensors have shape (b, n, s, d)."""
        raise NotImplementedError

    def hidden_from(self, sequence: int, device: torch.device) -> Tensor:
        """Return the mask (s, s) of what a query must not see: later positions, and those before its window."""
        if self.hidden is None or self.hidden.size(0) != sequence:
            position = torch.arange(sequence, device=device)
            distance = position[:, None] - position[None, :]
            later = distance < 0
            self.hidden = later if self.window is None else later | (distance >= self.window)
        return self.hidden


class UnfusedAttention(_CoreAttention):
    """Scores, mask, softmax and weighted sum, each in its own kernel; keeps (b, n, s, s) for the backward."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, sequence, head_dim = query.shape
        flat_query, flat_key, flat_value = (
            tensor.reshape(batch * heads, sequence, head_dim) for tensor in (query, key, value)
        )
        scores = torch.empty(batch * heads, sequence, sequence, dtype=query.dtype, device=query.device)
        scores = torch.baddbmm(scores, flat_query, flat_key.transpose(1, 2), beta=0.0, alpha=1.0 / math.sqrt(head_dim))
        scores = scores.masked_fill_(self.hidden_from(sequence, query.device), -10000.0)
        weights = torch.softmax(scores, dim=-1)
        return torch.bmm(weights, flat_value).view(batch, heads, sequence, head_dim)


class FusedAttention(_CoreAttention):
    """PyTorch's scaled_dot_product_attention."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.window is None:
            return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        seen = ~self.hidden_from(query.size(2), query.device)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
