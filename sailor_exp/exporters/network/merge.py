"""Merges what was measured of one GPU's links into the files of all GPUs, which others own too.

Formats: eth-easl/sailor at cf2c8e3, sailor/providers/network_coeffs_all_homo.json, of which readers take the first two
elements of an entry, and every key below a GPU for a number: an entry cannot say what its fit is good for. So a fit is
made good over all that was measured, and entries look as published. And sailor/Planner/baselines/Galvatron/
overlap_coe_dicts.json: {gpu: {gpus_per_vm: coefficient}}, where one GPU has nothing to overlap with.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sailor_exp.exporters.network.fits import counts_in
from sailor_exp.exporters.network.records import NetworkRecords
from sailor_exp.files import json_file
from sailor_exp.files.json_file import WholeKey, checked, in_order


def with_links(path: Path, content: Mapping[str, Any], gpu: str, measured: NetworkRecords) -> dict[str, Any]:
    """Return the network file with the entries that were measured; everything else stays. Raises DamagedFileError."""
    merged = {"inter": {}, "intra": {}} | dict(content)
    for link in measured.links:
        fit, highest = link.fitted.fit, link.fitted.max_bytes_per_s
        entries = counts_in(path, merged, link.scope, gpu) | {link.count: [[fit.a, fit.b, fit.c], highest]}
        gpus = json_file.objects_in(path, merged, link.scope)
        merged[link.scope] = {**gpus, gpu: _written(entries)}
    return merged


def with_overlap(path: Path, content: Mapping[str, Any], gpu: str, measured: NetworkRecords) -> dict[str, Any]:
    """Return the overlap file with the coefficients that were measured; everything else stays.

    Raises DamagedFileError.
    """
    there = checked(path, json_file.objects_in(path, content, gpu), _ENTRIES, gpu)
    coefficients = {ranks: slowdown.coefficient for ranks, slowdown in measured.slowdowns.items()}
    return {**content, gpu: _written({**there, 1: 1.0, **coefficients})}


def _written(entries: dict[int, Any]) -> dict[str, Any]:
    return {str(count): entry for count, entry in in_order(entries).items()}


_ENTRIES: TypeAdapter[dict[int, Any]] = TypeAdapter(dict[WholeKey, Any])
