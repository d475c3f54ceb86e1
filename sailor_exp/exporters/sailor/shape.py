"""Checks that memory under one model name is of one model: the configured one.

Readers take the memory of each tensor parallel degree as it is, so two shapes under one name give wrong plans.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from sailor_exp.config.architecture import Kind, kinds_by_layer_id, parameters_of_part, uneven_split
from sailor_exp.config.schema import ModelConfig
from sailor_exp.errors import MixedShapesError
from sailor_exp.profiles.layers.published import LayerMemory

_KEYS = {
    Kind.embedding: (
        "hidden_size",
        "vocab_size",
        "make_vocab_size_divisible_by",
        "position_embedding_type",
        "max_position_embeddings",
    ),
    Kind.layer: (
        "hidden_size",
        "num_attention_heads",
        "num_query_groups",
        "ffn_hidden_size",
        "activation",
        "normalization",
        "add_bias_linear",
    ),
}
"""Keys of the architecture that determine the parameters of a part."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The memory of one tensor parallel degree, and the name of where it stands: a record, or a place in a file."""

    name: str
    tp: int
    memory: LayerMemory


def check_shape(model: ModelConfig, sources: Iterable[Source]) -> None:
    """Compare the parameters of each part with the architecture, and among the tensor parallel degrees.

    The embedding and the transformer layers must have what the architecture gives. The parts after them are published
    without their projection, so these are only compared among the sources, as all parts are: ranks of one degree have
    as many parameters, ranks of a larger degree no more. A degree that the architecture cannot be split over is not
    compared with it.

    Raises MixedShapesError, which names both sources.
    """
    by_degree = sorted(sources, key=lambda source: source.tp)
    for source in by_degree:
        _check_architecture(model, source)
    for fewer, more in pairwise(by_degree):
        _check_fall(fewer, more)


def _check_architecture(model: ModelConfig, source: Source) -> None:
    for layer, (kind, expected) in _expected(model, source.tp).items():
        found = source.memory[layer]["params_floats"]
        if found != expected:
            raise MixedShapesError(
                _parameters(source, layer, found),
                f"the configured model has {expected} ({_described(model, kind)})",
            )


def _check_fall(fewer: Source, more: Source) -> None:
    for layer, counts in more.memory.items():
        found, limit = counts["params_floats"], fewer.memory[layer]["params_floats"]
        if found > limit or (fewer.tp == more.tp and found != limit):
            raise MixedShapesError(_parameters(more, layer, found), f"{fewer.name} has {limit} at tp={fewer.tp}")


def _expected(model: ModelConfig, tp: int) -> Mapping[int, tuple[Kind, int]]:
    """Return kind and parameters of the embedding and of the transformer layers, by layer id."""
    if uneven_split(model, tp) is not None:
        return {}
    return dict(_compared(model, tp))


def _compared(model: ModelConfig, tp: int) -> Iterator[tuple[int, tuple[Kind, int]]]:
    for layer, name in kinds_by_layer_id(model).items():
        kind = Kind.layer if name == Kind.layer_window else Kind(name)
        if kind in _KEYS:
            yield int(layer), (kind, parameters_of_part(model, kind, tp))


def _parameters(source: Source, layer: int, count: int) -> str:
    return f"{source.name}: layer {layer} has {count} parameters on a rank of tp={source.tp}"


def _described(model: ModelConfig, kind: Kind) -> str:
    return ", ".join(f"model.{key}={getattr(model, key)}" for key in _KEYS[kind])
