"""The parts of a model at one tensor parallel degree, from Megatron-Core: embedding, transformer layer, norm, head.

A part is a module with one output tensor, which enters the next part. `sailor_exp/training/chain.py` trains parts as
one model and marks the borders between them.

Legend: s sequence, b microbatch, h hidden size, d head dimension, v padded vocabulary.
"""

from dataclasses import dataclass

import torch
from megatron.core.models.common.embeddings.language_model_embedding import LanguageModelEmbedding
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.tensor_parallel import ColumnParallelLinear, vocab_parallel_cross_entropy
from megatron.core.transformer.spec_utils import build_module
from megatron.core.transformer.torch_norm import WrappedTorchNorm
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

from sailor_exp.config.architecture import (
    Kind,
    kind_of_layer,
    kinds_by_layer_id,
    measured_layers,
    padded_vocab_size,
    window_pattern,
)
from sailor_exp.config.schema import (
    Activation,
    Attention,
    Cell,
    Device,
    ModelConfig,
    Normalization,
    PositionEmbedding,
    Precision,
)
from sailor_exp.training.attention import FusedAttention, UnfusedAttention

_INIT_STD = 0.02
_ATTENTION = {Attention.unfused: UnfusedAttention, Attention.sdpa: FusedAttention}
_ACTIVATION = {
    Activation.relu: torch.nn.functional.relu,
    Activation.gelu: torch.nn.functional.gelu,
    Activation.swiglu: torch.nn.functional.silu,
}


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One microbatch: token ids, positions and labels, each (b, s) of int64."""

    tokens: Tensor
    positions: Tensor
    labels: Tensor


def batch_of(cell: Cell, device: torch.device) -> Batch:
    """Return a batch of random tokens, the same on every rank, because tensor parallel ranks share their data."""
    generator = torch.Generator().manual_seed(1234)
    shape = (cell.mbs, cell.model.seq_length)
    tokens, labels = (torch.randint(cell.model.vocab_size, shape, generator=generator) for _ in range(2))
    positions = torch.arange(cell.model.seq_length).expand(shape).contiguous()
    return Batch(tokens=tokens.to(device), positions=positions.to(device), labels=labels.to(device))


class Part(nn.Module):
    """A piece of the model that is measured separately, and stands for all layers of its `kind`."""

    kind: Kind

    def inputs(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Return what enters the part: the output of the part before, or tensors of the batch."""
        raise NotImplementedError

    def outlets(self) -> list[nn.Module]:
        """Return the modules whose outputs count as outputs of the part."""
        return [self]


class Embedding(Part):
    """Token embedding, split over the vocabulary, and learned positions if the model has them: (b, s) to (s, b, h)."""

    kind = Kind.embedding

    def __init__(self, cell: Cell, config: TransformerConfig) -> None:
        super().__init__()
        self.embedding = LanguageModelEmbedding(
            config=config,
            vocab_size=padded_vocab_size(cell.model, cell.tp),
            max_sequence_length=cell.model.max_position_embeddings,
            position_embedding_type=cell.model.position_embedding_type.value,
        )

    def inputs(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:  # noqa: ARG002
        return batch.tokens, batch.positions

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        return self.embedding(tokens, positions)  # type: ignore[no-any-return, unused-ignore]


class Layer(Part):
    """One transformer layer: (s, b, h) to (s, b, h)."""

    def __init__(self, cell: Cell, config: TransformerConfig, number: int) -> None:
        super().__init__()
        self.kind = kind_of_layer(cell.model, number)
        spec = get_gpt_layer_local_spec(normalization=cell.model.normalization.value)
        # Megatron uses Apex's norm if it is installed; the measurement must not depend on that.
        spec.submodules.input_layernorm = spec.submodules.pre_mlp_layernorm = WrappedTorchNorm
        spec.submodules.self_attention.submodules.core_attention = _ATTENTION[cell.attention]
        self.layer = build_module(spec, config=config, layer_number=number)
        self._rotary = _rotary_table(cell.model, config)

    def inputs(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:  # noqa: ARG002
        return (hidden,)

    def forward(self, hidden: Tensor) -> Tensor:
        # The attention kernel has its own mask; Megatron would only pass one through.
        output, _ = self.layer(hidden, attention_mask=None, rotary_pos_emb=self._rotary)
        return output  # type: ignore[no-any-return, unused-ignore]


class FinalNorm(Part):
    """The norm before the head, if the model counts it as a layer of its own."""

    kind = Kind.final_norm

    def __init__(self, cell: Cell, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = _norm(cell.model, config)

    def inputs(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:  # noqa: ARG002
        return (hidden,)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(hidden)  # type: ignore[no-any-return]


class Head(Part):
    """Final norm unless it is a part of its own, projection to the split vocabulary, mean cross entropy."""

    kind = Kind.head

    def __init__(self, cell: Cell, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.Identity() if cell.model.separate_final_norm else _norm(cell.model, config)
        self.projection = ColumnParallelLinear(
            cell.model.hidden_size,
            padded_vocab_size(cell.model, cell.tp),
            config=config,
            init_method=config.init_method,
            bias=False,
            skip_bias_add=False,
            gather_output=False,
        )

    def outlets(self) -> list[nn.Module]:
        """Return projection and loss: published profiles count the logits, too, as output."""
        return [self.projection, self]

    def inputs(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        return hidden, batch.labels

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        return mean_loss(self.logits(hidden), labels)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of this rank's share of the vocabulary: (s, b, h) to (s, b, v / tp)."""
        logits, _ = self.projection(self.norm(hidden))
        return logits  # type: ignore[no-any-return, unused-ignore]


def mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy of logits (s, b, v / tp), split over tensor parallel ranks, and labels (b, s)."""
    losses = vocab_parallel_cross_entropy(logits, labels.transpose(0, 1).contiguous())
    return losses.float().mean()  # type: ignore[no-any-return, unused-ignore]


def build_parts(cell: Cell, device: torch.device) -> list[Part]:
    """Build this rank's share of the measured parts: embedding, transformer layers, (final norm,) head.

    Needs Megatron-Core's parallel state. Parameters are random, because their values do not change the cost of a step.
    """
    tail = range(cell.model.num_layers + 1, len(kinds_by_layer_id(cell.model)))
    return [build_layer(cell, layer_id, device) for layer_id in (0, *measured_layers(cell.model), *tail)]


def build_part(cell: Cell, kind: Kind, device: torch.device) -> Part:
    """Build this rank's share of one kind of part, from the first layer of the kind."""
    kinds = list(kinds_by_layer_id(cell.model).values())
    return build_layer(cell, kinds.index(kind), device)


def build_layer(cell: Cell, layer_id: int, device: torch.device) -> Part:
    """Build this rank's share of the part with one layer id of the model."""
    part = _new_part(cell, layer_id).to(device=device, dtype=_dtype(cell))
    part.train()
    _initialize(part)
    return part


def hidden_states(cell: Cell, device: torch.device) -> Tensor:
    """Return random hidden states (s, b, h), in the type of the activations."""
    shape = (cell.model.seq_length, cell.mbs, cell.model.hidden_size)
    return torch.randn(shape, device=device, dtype=_dtype(cell))


def _new_part(cell: Cell, layer_id: int) -> Part:
    config = transformer_config(cell)
    match Kind(kinds_by_layer_id(cell.model)[str(layer_id)]):
        case Kind.embedding:
            return Embedding(cell, config)
        case Kind.final_norm:
            return FinalNorm(cell, config)
        case Kind.head:
            return Head(cell, config)
        case _:
            return Layer(cell, config, layer_id)


def transformer_config(cell: Cell) -> TransformerConfig:
    """Return the architecture in Megatron-Core's terms: no dropout, no fusion that compiles at run time."""
    model = cell.model
    windowed = model.window_size is not None
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.num_attention_heads,
        num_query_groups=model.num_query_groups,
        ffn_hidden_size=model.ffn_hidden_size,
        normalization=model.normalization.value,
        activation_func=_ACTIVATION[model.activation],
        gated_linear_unit=model.activation is Activation.swiglu,
        add_bias_linear=model.add_bias_linear,
        window_size=(model.window_size - 1, 0) if model.window_size is not None else None,
        window_attn_skip_freq=window_pattern(model) if windowed else None,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        tensor_model_parallel_size=cell.tp,
        use_cpu_initialization=cell.gpu.device is Device.cpu,
        perform_initialization=False,
        params_dtype=_dtype(cell),
        pipeline_dtype=_dtype(cell),
        bf16=cell.precision is Precision.bf16,
    )


def _dtype(cell: Cell) -> torch.dtype:
    return torch.bfloat16 if cell.precision is Precision.bf16 else torch.float32


def _norm(model: ModelConfig, config: TransformerConfig) -> nn.Module:
    norm = nn.RMSNorm if model.normalization is Normalization.RMSNorm else nn.LayerNorm
    return norm(model.hidden_size, eps=config.layernorm_epsilon)


def _rotary_table(model: ModelConfig, config: TransformerConfig) -> Tensor | None:
    """Return the angles (s, 1, 1, d) that Megatron passes to every layer; None without rotary positions."""
    if model.position_embedding_type is not PositionEmbedding.rope:
        return None
    rotary = RotaryEmbedding(
        kv_channels=model.hidden_size // model.num_attention_heads,
        rotary_percent=1.0,
        rotary_base=model.rotary_base,
        use_cpu_initialization=config.use_cpu_initialization,
    )
    return rotary(model.seq_length)  # type: ignore[no-any-return, unused-ignore]


@torch.no_grad()
def _initialize(part: Part) -> None:
    for module in part.modules():
        if isinstance(module, nn.LayerNorm | nn.RMSNorm):
            module.reset_parameters()
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.dim() > 1:
                parameter.normal_(std=_INIT_STD)
            else:
                parameter.zero_()


def parameter_count(part: nn.Module) -> int:
    """Return the number of elements of the parameters that this rank holds of the part."""
    return sum(parameter.numel() for parameter in part.parameters())
