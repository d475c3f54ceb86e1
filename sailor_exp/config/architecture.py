"""Layer ids of a model, and the kinds of parts that stand for them.

The ids are those of the published profiles: "0" embedding, "1".."L" transformer layers, then the head; a model with
`separate_final_norm` has its final norm between the layers and the head.
"""

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

from sailor_exp.config.schema import Activation, ModelConfig, Normalization, PositionEmbedding
from sailor_exp.errors import LayerIdsError


class Kind(StrEnum):
    """What a part stands for. Layers with different attention are different kinds."""

    embedding = "embedding"
    layer = "layer"
    layer_window = "layer_window"
    final_norm = "final_norm"
    head = "head"


def window_pattern(model: ModelConfig) -> list[int]:
    """Return 1 for each transformer layer that attends to a window, else 0: the configured pattern, repeated."""
    if model.window_size is None:
        return [0] * model.num_layers
    pattern = model.window_attn_skip_freq or [1]
    return [pattern[index % len(pattern)] for index in range(model.num_layers)]


def kind_of_layer(model: ModelConfig, number: int) -> Kind:
    """Return the kind of transformer layer `number`, counted from 1."""
    return Kind.layer_window if window_pattern(model)[number - 1] else Kind.layer


def kinds_by_layer_id(model: ModelConfig) -> dict[str, str]:
    """Return every layer id of the model, in order, with the kind of part that stands for it."""
    layers = [kind_of_layer(model, number) for number in range(1, model.num_layers + 1)]
    tail = [Kind.final_norm, Kind.head] if model.separate_final_norm else [Kind.head]
    return {str(index): kind.value for index, kind in enumerate([Kind.embedding, *layers, *tail])}


def measured_layers(model: ModelConfig) -> list[int]:
    """Return the numbers of the transformer layers to build: the first of each kind, or two of a single kind."""
    kinds = [kind_of_layer(model, number) for number in range(1, model.num_layers + 1)]
    if len(set(kinds)) == 1:
        return list(range(1, min(2, model.num_layers) + 1))
    return sorted(kinds.index(kind) + 1 for kind in set(kinds))


def measured_kinds(model: ModelConfig) -> list[Kind]:
    """Return every kind of part that the model has, in the order of the layer ids."""
    return list(dict.fromkeys(Kind(kind) for kind in kinds_by_layer_id(model).values()))


def check_layer_ids(model: ModelConfig, layer_ids: Collection[int], path: Path, place: str) -> None:
    """Compare the layer ids at one place of a file with those of the model.

    Raises LayerIdsError, which names the ids that are missing or beyond the last.
    """
    expected = range(len(kinds_by_layer_id(model)))
    if set(layer_ids) == set(expected):
        return
    missing = [str(layer) for layer in expected if layer not in layer_ids]
    foreign = [str(layer) for layer in sorted(layer_ids) if layer not in expected]
    faults = [f"{len(layer_ids)} layer ids"]
    faults += [f"none of the id {', '.join(missing)}"] if missing else []
    faults += [f"the id {', '.join(foreign)} beyond the last"] if foreign else []
    raise LayerIdsError(path, place=place, fault=", ".join(faults), expected=len(expected), num_layers=model.num_layers)


def padded_vocab_size(model: ModelConfig, tp: int) -> int:
    """Return the size of the vocabulary with Megatron's padding, which gives every rank the same number of rows.

    Source: Megatron-LM, `_vocab_size_with_padding`: the next multiple of
    `make_vocab_size_divisible_by` x tp.
    """
    multiple = model.make_vocab_size_divisible_by * tp
    return -(-model.vocab_size // multiple) * multiple


def parameters_of_part(model: ModelConfig, kind: Kind, tp: int) -> int:
    """Return the number of parameters that a rank holds of a part; tp must divide the architecture.

    Source: Megatron-Core. Matrices are split over tp, and so are the biases of what is split by columns; norms, learned
    positions and the biases of what is split by rows are on every rank.
    """
    vocabulary = padded_vocab_size(model, tp) // tp * model.hidden_size
    norm = model.hidden_size * (2 if model.normalization is Normalization.LayerNorm else 1)
    match kind:
        case Kind.embedding:
            learned = model.position_embedding_type is PositionEmbedding.learned_absolute
            return vocabulary + (model.max_position_embeddings * model.hidden_size if learned else 0)
        case Kind.final_norm:
            return norm
        case Kind.head:
            return vocabulary + (0 if model.separate_final_norm else norm)
        case Kind.layer | Kind.layer_window:
            return _parameters_of_layer(model, tp) + 2 * norm


def _parameters_of_layer(model: ModelConfig, tp: int) -> int:
    """Return the parameters of the four projections of a transformer layer on a rank."""
    biases = _columns(model) // tp + 2 * model.hidden_size if model.add_bias_linear else 0
    return projection_weights(model, tp) + biases


def projection_weights(model: ModelConfig, tp: int) -> int:
    """Return the elements of the matrices of the four projections of a transformer layer on a rank.

    They are query, key and value; the projection behind the attention; and those up and down of the feed-forward
    network.
    """
    rows = model.hidden_size + model.ffn_hidden_size
    return model.hidden_size * (_columns(model) + rows) // tp


def _columns(model: ModelConfig) -> int:
    """Return the outputs of the two projections that are split by columns, over all ranks."""
    key_or_value = model.num_query_groups * (model.hidden_size // model.num_attention_heads)
    up = model.ffn_hidden_size * (2 if model.activation is Activation.swiglu else 1)
    return model.hidden_size + 2 * key_or_value + up


def uneven_split(model: ModelConfig, tp: int) -> str | None:
    """Return why tp does not divide the architecture, or None where it does."""
    parts = {
        "num_attention_heads": model.num_attention_heads,
        "num_query_groups": model.num_query_groups,
        "ffn_hidden_size": model.ffn_hidden_size,
    }
    uneven = [f"{name}={count}" for name, count in parts.items() if count % tp]
    return f"{model.name} cannot be split over tp={tp}: {', '.join(uneven)} do not divide" if uneven else None
