"""Merges the measured links of one GPU into the bandwidth files that planners open, and derives what was not measured.

bandwidth_files.py has the formats and their source, derivation.py the rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sailor_exp.errors import UnknownZoneError
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.network.bandwidth_files import End, Pair, pairs_in, with_intra, with_pairs
from sailor_exp.exporters.network.derivation import derive
from sailor_exp.exporters.network.records import MeasuredLink
from sailor_exp.exporters.network.show import shown_derivation, shown_gaps
from sailor_exp.files import json_file


@dataclass(frozen=True, kw_only=True)
class Places:
    """The paths of the bandwidth files; None for one that is left out.

    `zone`: where the measured VMs are. `new_zone`: whether files that have other zones get it, too.
    """

    intra: Path | None
    multizone: Path | None
    multizone_het: Path | None
    zone: str
    new_zone: bool


@dataclass(frozen=True, kw_only=True)
class Bandwidths:
    """Contents by path, and what to say of them."""

    files: Mapping[Path, bytes]
    shown: tuple[str, ...]


def places_in(inputs: Inputs) -> Places:
    """Return what the keys of the exporter name."""
    return Places(
        intra=inputs.file("intra_node_file"),
        multizone=inputs.file("multizone_file"),
        multizone_het=inputs.file("multizone_het_file"),
        zone=inputs.option("zone"),
        new_zone=inputs.option("new_zone"),
    )


def merged_bandwidths(inputs: Inputs, places: Places, links: Sequence[MeasuredLink]) -> Bandwidths:
    """Return the bandwidth files with the links; a file of which nothing was measured is left out.

    Links between VMs make the file of those inside, too, where there is none: VMs of one GPU have none inside, and the
    simulator opens it.

    Raises DamagedFileError for a file of another shape, UnknownZoneError for a file that has other zones, and the
    errors of `Inputs.shared`.
    """
    inside = {link.count: link for link in links if link.scope == "intra"}
    between = {link.count: link for link in links if link.scope == "inter"}
    intra = _intra(inputs, places.intra, inside) if links else {}
    multizone = _multizone(inputs, places, between) if between else Bandwidths(files={}, shown=())
    return Bandwidths(files={**intra, **multizone.files}, shown=multizone.shown)


def _intra(inputs: Inputs, path: Path | None, links: Mapping[int, MeasuredLink]) -> dict[Path, bytes]:
    if path is None:
        return {}
    content = inputs.shared(path)
    return {} if content and not links else {path: json_file.bytes_of(with_intra(path, content, inputs.gpu, links))}


def _multizone(inputs: Inputs, places: Places, links: Mapping[int, MeasuredLink]) -> Bandwidths:
    measured = {_pair(places.zone, inputs.gpu, gpus): link.fitted.entry for gpus, link in links.items()}
    paths = [path for path in (places.multizone, places.multizone_het) if path is not None]
    merged = {path: with_pairs(_read(inputs, path, places), measured) for path in paths}
    shown: list[str] = []
    if (het := places.multizone_het) is not None:
        source = places.multizone or het
        there = pairs_in(het, merged[het])
        derivation = derive(inputs.gpu, measured=pairs_in(source, merged[source]), there=there)
        merged[het] = with_pairs(merged[het], derivation.derived)
        shown += [*shown_derivation(het, inputs.gpu, derivation), *shown_gaps(het, merged[het])]
    return Bandwidths(files={path: json_file.bytes_of(content) for path, content in merged.items()}, shown=tuple(shown))


def _pair(zone: str, gpu: str, gpus: int) -> Pair:
    end = End(zone, gpu, gpus)
    return Pair(end, end)


def _read(inputs: Inputs, path: Path, places: Places) -> dict[str, Any]:
    """Return a multizone file that has the zone or may get it. Raises DamagedFileError, UnknownZoneError."""
    content = inputs.shared(path)
    pairs_in(path, content)
    if content and places.zone not in content and not places.new_zone:
        raise UnknownZoneError(path, zone=places.zone, zones=list(content))
    return content
