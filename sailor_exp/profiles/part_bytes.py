"""Bytes that are measured for each kind of part, and told for each layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sailor_exp.records.provenance import DeviceFacts
from sailor_exp.records.record import Record


@dataclass(frozen=True, kw_only=True)
class KindBytes:
    """What one rank measured of the memory of each kind of part, under the names of the record's measurement."""

    counts: dict[str, dict[str, int]]
    device: DeviceFacts


def largest(ranks: Sequence[KindBytes], name: str) -> dict[str, int]:
    """By kind of part, one count of the rank that has most of it."""
    return {kind: max(rank.counts[kind][name] for rank in ranks) for kind in ranks[0].counts}


def by_layer(record: Record, by_kind: Mapping[str, int]) -> dict[str, int]:
    """Each layer id of the model, in order, with the count of the kind that stands for it."""
    layers = record.layers or {}
    return {layer: by_kind[layers[layer]] for layer in sorted(layers, key=int)}
