"""What one layer keeps and holds, counted by hand.

Legend: s sequence, b microbatch, h hidden size, a heads; a unit is s b h numbers of 4 bytes. The layer is a GELU one
with biases and LayerNorm: 12 h^2 + 13 h parameters.
"""

import torch

from sailor_exp.config.architecture import Kind
from tests.build.cells import cell
from tests.build.fake_instruments import Voice

H = 128
PARAMETERS = 12 * H * H + 13 * H


def counts(rank, *overrides: str) -> dict[str, int]:
    """What a rank class of one part alone measures of the layer; the process must be a rank."""
    asked = cell(f"model.hidden_size={H}", f"model.ffn_hidden_size={4 * H}", *overrides)
    return rank(asked, torch.device("cpu"), Voice()).measure(asked)[Kind.layer.value]


def kept_bytes(*, s: int, b: int, a: int) -> int:
    """What a layer keeps: of s b h the input, its norm, query, key and value, the context, the sum behind attention and
    its norm, four times each what enters and leaves the activation; the probabilities; two norms' means and deviations.
    """
    return 4 * ((1 + 1 + 3 + 1 + 1 + 1 + 4 + 4) * s * b * H + a * s * s * b + 2 * 2 * s * b)
