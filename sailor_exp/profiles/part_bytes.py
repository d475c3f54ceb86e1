"""Bytes that are measured for each kind of part, and reported for each layer."""

from collections.abc import Mapping, Sequence

PartBytes = dict[str, dict[str, int]]
"""What one rank sends: by kind of part, bytes under the names of its profile's measurement."""


def largest(shares: Sequence[PartBytes], name: str) -> dict[str, int]:
    """Return one count by kind of part, of the rank with the most."""
    return {kind: max(share[kind][name] for share in shares) for kind in shares[0]}


def by_layer(layers: Mapping[str, str], by_kind: Mapping[str, int]) -> dict[str, int]:
    """Return each layer id of the model, in order, with the count of the kind that stands for it."""
    return {layer: by_kind[layers[layer]] for layer in sorted(layers, key=int)}
