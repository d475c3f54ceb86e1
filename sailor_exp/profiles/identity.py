"""Derives a cell's identity, and the names that people see, from its configuration."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sailor_exp.config.schema import CELL_KEYS, Cell, GatherConfig, ModelConfig, plain
from sailor_exp.profiles.profile import Profile
from sailor_exp.profiles.registry import profile_named, profile_of
from sailor_exp.records.identity import Identity, named

_GPU_KEYS = ("name", "device", "backend", "memory_gb")
_TRAINING_KEYS = ("precision", "optimizer", "attention")

FOUNDING_KEYS = frozenset(
    {
        "name",
        "num_layers",
        "hidden_size",
        "num_attention_heads",
        "num_query_groups",
        "ffn_hidden_size",
        "seq_length",
        "max_position_embeddings",
        "vocab_size",
        "make_vocab_size_divisible_by",
        "position_embedding_type",
        "rotary_base",
        "normalization",
        "activation",
        "add_bias_linear",
        "window_size",
        "window_attn_skip_freq",
        "separate_final_norm",
        "untie_embeddings_and_output_weights",
        "precision",
        "optimizer",
        "attention",
        *("pp", "tp", "mbs", "num_microbatches", "ranks", "nodes"),
    }
)
"""Keys of a cell and of its model that the first records have. Every identity has them.

Any other key was added later. At its default it is left out of the identity, so that earlier records, which do not have
it, keep their identities. Never add a key here.
"""


def identity_of(cell: Cell) -> Identity:
    """Return everything in a cell's configuration that determines its numbers."""
    profile, content = profile_of(cell), plain(cell)
    defaults = dict.fromkeys(CELL_KEYS, 1)
    used = {key: content[key] for key in CELL_KEYS if key in profile.keys}
    return Identity(
        method=profile.method,
        profile=profile.name,
        gpu={key: content["gpu"][key] for key in _GPU_KEYS},
        options=profile.options(cell),
        **_about_the_model(content, profile),
        **{key: lasting(used, defaults).get(key) for key in CELL_KEYS},
    )


def asked_identity(gather: GatherConfig, profile: str) -> Identity:
    """Return the identity to which records of a profile must belong to be gathered. It has no keys of a cell."""
    content, asked_profile = plain(gather), profile_named(profile)
    return Identity(
        method=asked_profile.method,
        profile=asked_profile.name,
        gpu={key: content["gpu"][key] for key in _GPU_KEYS},
        **_about_the_model(content, asked_profile),
        **dict.fromkeys(CELL_KEYS),
    )


def lasting(content: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without keys that were added later and have their default.

    usual: the defaults of keys that have one.
    """
    return {
        key: value for key, value in content.items() if key in FOUNDING_KEYS or key not in usual or value != usual[key]
    }


def label(cell: Cell, *, of_several: bool = False) -> str:
    """Return the name of a cell that people see: `gpt-tiny CPU tp=1 mbs=2`.

    of_several: whether it stands among cells of other profiles: `varuna of gpt-tiny CPU tp=1 mbs=2`.
    """
    return f"{subject(cell, of_several=of_several)} {cell.gpu.name} {named(cell_keys(cell))}".rstrip()


def subject(cell: Cell, *, of_several: bool = False) -> str:
    """Return the name of the model, or of the profile if it does not use a model; of several profiles, both."""
    profile = profile_of(cell)
    if not profile.about_model:
        return profile.name
    return f"{profile.name} of {cell.model.name}" if of_several else cell.model.name


def several_profiles(cells: Sequence[Cell]) -> bool:
    """Whether the cells of a sweep have more than one profile."""
    return len({cell.profile.name for cell in cells}) > 1


def cell_keys(cell: Cell) -> dict[str, int]:
    """Return the keys of CELL_KEYS that the cell's profile uses, with their values."""
    return {key: getattr(cell, key) for key in CELL_KEYS if key in profile_of(cell).keys}


def keys_of(cells: Sequence[Cell]) -> list[str]:
    """Return the keys that distinguish the cells of a grid, in the order of CELL_KEYS."""
    used = {key for cell in cells for key in cell_keys(cell)}
    return [key for key in CELL_KEYS if key in used]


def _about_the_model(content: Mapping[str, Any], profile: Profile[Any, Any]) -> dict[str, Any]:
    if not profile.about_model:
        return dict.fromkeys(("model", *_TRAINING_KEYS))
    return {
        "model": lasting(content["model"], _defaults(ModelConfig)),
        **{key: content[key] for key in _TRAINING_KEYS},
    }


def _defaults(schema: type[Any]) -> dict[str, Any]:
    """Return the defaults of a schema as JSON types."""
    fields = {field.name: field.default for field in dataclasses.fields(schema)}
    return {key: getattr(default, "value", default) for key, default in fields.items()}
