"""The least work of a part of the model on one rank: floating-point operations, and bytes to and from the memory.

Legend: s sequence, b microbatch, h hidden size, n heads, v padded vocabulary, t tensor parallel degree.

Operations are those of matrix products, two for each multiplication and addition; norms, activations and the softmax
are not counted. Sources: Narayanan et al. 2021 (arXiv:2104.04473, appendix), 24 b s h^2 + 4 b s^2 h for the forward of
a layer with ffn_hidden_size 4 h, 2 b s h v for the projection of the head, and twice as much in the backward; Kaplan et
al. 2020 (arXiv:2001.08361), table 1, which has the same without attention's square. The terms here are those of each
projection, so grouped queries, gates and any ffn_hidden_size are right.

Attention: all s^2 scores count where the kernel computes all and masks them (`unfused`, and `sdpa` within a window);
s (s + 1) / 2 where it leaves out later positions (`sdpa`). Work that a kernel repeats is not counted, such as that of a
fused attention's backward.

Bytes are what must move if each number moves once, even where a real kernel reads it twice, so no correct measurement
is faster than the memory.
"""

from dataclasses import dataclass
from enum import StrEnum

from sailor_exp.config.architecture import (
    Kind,
    padded_vocab_size,
    parameters_of_part,
    projection_weights,
    uneven_split,
)
from sailor_exp.config.parameter_bytes import GRADIENT_BYTES, parameter_bytes, update_bytes
from sailor_exp.config.schema import Attention, ModelConfig, Optimizer, Precision

LARGEST_CACHE_BYTES = 128 * 2**20
"""Bytes that a cache may keep from one pass to the next: more than any GPU of conf/gpu has (B200: 126.5 MiB)."""

_SCORES_FORWARD = 4
"""Passes over the scores: written by the product, read and written by the softmax, read by the product with values."""
_SCORES_BACKWARD = 7
"""The gradient of the weights is written, and the weights are read for that of the values; the softmax reads both, and
writes the gradient of the scores, which those of query and key read."""


class Phase(StrEnum):
    """A phase of a training step whose work is known."""

    forward = "forward"
    backward = "backward"
    update = "update"
    accumulate = "accumulate"


@dataclass(frozen=True, kw_only=True)
class Training:
    """What determines the work of a part on one rank."""

    model: ModelConfig
    tp: int
    mbs: int
    precision: Precision
    optimizer: Optimizer
    attention: Attention


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Tensors that are read or written `times` times in turn, `size` bytes each time."""

    size: int
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Work:
    """The least work of one phase of one part on one rank. `passes`: over what lies in the memory."""

    flops: int
    passes: tuple[Pass, ...]

    @property
    def bytes(self) -> int:
        """Bytes that are read and written."""
        return sum(one.size * one.times for one in self.passes)

    @property
    def uncached_bytes(self) -> int:
        """Bytes that come from the memory, even if a cache keeps all it can from each pass to the next."""
        return sum(max(0, one.size - LARGEST_CACHE_BYTES) * one.times for one in self.passes)


def work_of(training: Training, kind: Kind, phase: Phase) -> Work | None:
    """Return the least work of a phase of a part; None where tp does not divide the architecture."""
    if uneven_split(training.model, training.tp) is not None:
        return None
    match phase:
        case Phase.forward:
            return Work(flops=_forward_flops(training, kind), passes=_forward_passes(training, kind))
        case Phase.backward:
            return Work(flops=2 * _forward_flops(training, kind), passes=_backward_passes(training, kind))
        case Phase.update:
            return Work(flops=0, passes=_update_passes(training, kind))
        case Phase.accumulate:
            gradients = _parameters(training, kind) * GRADIENT_BYTES
            return Work(flops=0, passes=(Pass(size=2 * gradients), Pass(size=gradients)))


def _forward_flops(training: Training, kind: Kind) -> int:
    tokens, model = _tokens(training), training.model
    match kind:
        case Kind.embedding | Kind.final_norm:
            return 0
        case Kind.head:
            return 2 * tokens * model.hidden_size * _vocabulary(training)
        case Kind.layer | Kind.layer_window:
            products = 2 * tokens * projection_weights(model, training.tp)
            return products + 4 * training.mbs * _scores(training, kind) * model.hidden_size // training.tp


def _scores(training: Training, kind: Kind) -> int:
    """Return the scores that a kernel computes for each head and sample."""
    length = training.model.seq_length
    causal = training.attention is Attention.sdpa and kind is Kind.layer
    return length * (length + 1) // 2 if causal else length**2


def _forward_passes(training: Training, kind: Kind) -> tuple[Pass, ...]:
    hidden, parameters = _hidden_bytes(training), _parameter_bytes(training, kind)
    match kind:
        case Kind.embedding:  # rows that tokens share are read once, so reading is not counted
            return (Pass(size=hidden),)
        case Kind.final_norm:
            return (Pass(size=hidden, times=2),)
        case Kind.head:
            return Pass(size=parameters), Pass(size=hidden), Pass(size=_logits_bytes(training), times=2)
        case Kind.layer | Kind.layer_window:
            scores = Pass(size=_scores_bytes(training), times=_SCORES_FORWARD)
            return Pass(size=parameters), Pass(size=hidden, times=2), scores


def _backward_passes(training: Training, kind: Kind) -> tuple[Pass, ...]:
    """Return the passes over parameters and their gradients, over the gradients of output and input, and inside."""
    hidden, parameters = _hidden_bytes(training), _parameter_bytes(training, kind)
    match kind:
        case Kind.embedding:  # the gradient has a row for every word, not only for those of the batch
            return Pass(size=parameters), Pass(size=hidden)
        case Kind.final_norm:
            return (Pass(size=hidden, times=2),)
        case Kind.head:
            logits = Pass(size=_logits_bytes(training), times=2)
            return Pass(size=parameters, times=2), Pass(size=hidden), logits
        case Kind.layer | Kind.layer_window:
            scores = Pass(size=_scores_bytes(training), times=_SCORES_BACKWARD)
            return Pass(size=parameters, times=2), Pass(size=hidden, times=2), scores


def _update_passes(training: Training, kind: Kind) -> tuple[Pass, ...]:
    moved = update_bytes(training.precision, training.optimizer)
    parameters = _parameters(training, kind)
    return Pass(size=parameters * moved.read), Pass(size=parameters * moved.written)


def _tokens(training: Training) -> int:
    return training.mbs * training.model.seq_length


def _vocabulary(training: Training) -> int:
    return padded_vocab_size(training.model, training.tp) // training.tp


def _hidden_bytes(training: Training) -> int:
    return _tokens(training) * training.model.hidden_size * parameter_bytes(training.precision)


def _logits_bytes(training: Training) -> int:
    return _tokens(training) * _vocabulary(training) * parameter_bytes(training.precision)


def _scores_bytes(training: Training) -> int:
    """Return the bytes of the scores of all heads of a rank; a fused kernel (`sdpa`) keeps them on the chip."""
    if training.attention is Attention.sdpa:
        return 0
    heads = training.model.num_attention_heads // training.tp
    return training.mbs * heads * training.model.seq_length**2 * parameter_bytes(training.precision)


def _parameters(training: Training, kind: Kind) -> int:
    return parameters_of_part(training.model, kind, training.tp)


def _parameter_bytes(training: Training, kind: Kind) -> int:
    return _parameters(training, kind) * parameter_bytes(training.precision)
