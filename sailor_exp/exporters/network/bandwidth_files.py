"""The three bandwidth files that planners open: their shapes, and what is put into them.

Formats: eth-easl/sailor at cf2c8e3, sailor/providers/. A fit is [[a, b, c], max_bytes_per_s], as in fits.py.

    intra_node_bandwidths.json      {gpu: {ranks: fit}}
    multizone_bandwidths.json       {zone: {gpu: {gpus: {zone: {gpu: {gpus: fit}}}}}}: measured pairs
    multizone_bandwidths_het.json   the same: every pair

The sender is outside, the receiver inside; `gpus` is the number of GPUs in each VM. Readers in Python end
in KeyError where a key is missing.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from sailor_exp.exporters.network.records import MeasuredLink
from sailor_exp.files.json_file import NotNegative, Number, WholeKey, checked

FitEntry = tuple[tuple[Number, Number, Number], NotNegative]
"""Coefficients of GB/s, and the highest measured bandwidth in bytes per second."""


class End(NamedTuple):
    """One end of a transfer between VMs: VMs of a zone, with so many GPUs of a kind in each."""

    zone: str
    gpu: str
    gpus: int

    def __str__(self) -> str:
        return f"{self.gpus} x {self.gpu} in {self.zone}"


class Pair(NamedTuple):
    """The sender and the receiver of a transfer."""

    sender: End
    receiver: End


def with_intra(path: Path, content: Mapping[str, Any], gpu: str, links: Mapping[int, MeasuredLink]) -> dict[str, Any]:
    """Return intra_node_bandwidths.json with the measured links, by ranks; all else stays. Raises DamagedFileError."""
    intra_in(path, content)
    entries = dict(content.get(gpu, {}))
    for ranks, link in links.items():
        _put(entries, ranks, link.fitted.entry)
    return {**content, gpu: entries}


def intra_in(path: Path, content: Mapping[str, Any]) -> dict[str, dict[int, FitEntry]]:
    """Return the fits of intra_node_bandwidths.json by GPU and ranks. Raises DamagedFileError for another shape."""
    return checked(path, content, _INTRA)


def pairs_in(path: Path, content: Mapping[str, Any]) -> dict[Pair, FitEntry]:
    """Return the fits of a multizone file by their pairs. Raises DamagedFileError for another shape."""
    senders = checked(path, content, _MULTIZONE)
    return {
        Pair(sender, receiver): entry for sender, receivers in _ends(senders) for receiver, entry in _ends(receivers)
    }


def with_pairs(content: Mapping[str, Any], entries: Mapping[Pair, FitEntry]) -> dict[str, Any]:
    """Return the content of a multizone file with these entries; all else stays."""
    merged = deepcopy(dict(content))
    for (sender, receiver), entry in entries.items():
        senders = merged.setdefault(sender.zone, {}).setdefault(sender.gpu, {})
        receivers = senders.get(str(sender.gpus), {})
        _put(receivers.setdefault(receiver.zone, {}).setdefault(receiver.gpu, {}), receiver.gpus, entry)
        _put(senders, sender.gpus, receivers)
    return merged


def _ends(zones: Mapping[str, Any]) -> Iterator[tuple[End, Any]]:
    for zone, kinds in zones.items():
        for gpu, counts in kinds.items():
            for gpus, below in counts.items():
                yield End(zone, gpu, gpus), below


def _put(counts: dict[str, Any], count: int, value: object) -> None:
    """Put a value under its count, and all counts in rising order."""
    ordered = sorted({**counts, str(count): value}.items(), key=lambda item: int(item[0]))
    counts.clear()
    counts.update(ordered)


_INTRA: TypeAdapter[dict[str, dict[int, FitEntry]]] = TypeAdapter(dict[str, dict[WholeKey, FitEntry]])
_RECEIVERS = dict[str, dict[str, dict[WholeKey, FitEntry]]]
_MULTIZONE: TypeAdapter[dict[str, dict[str, dict[int, Any]]]] = TypeAdapter(
    dict[str, dict[str, dict[WholeKey, _RECEIVERS]]]
)
