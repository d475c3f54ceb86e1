"""Merges the measured entries of one GPU's links into the files of all GPUs, which hold entries of others, too.

Formats: eth-easl/sailor at cf2c8e3. sailor/providers/network_coeffs_all_homo.json: readers use the first two elements
of an entry and read every key below a GPU as a number, so an entry cannot hold the range of its fit. A fit is positive
over all measured sizes instead, and entries have the published shape. sailor/Planner/baselines/Galvatron/
overlap_coe_dicts.json: {gpu: {gpus_per_vm: coefficient}}; one GPU has nothing to overlap with, so its coefficient is 1.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sailor_exp.exporters.network.fits import BY_COUNT, counts_in
from sailor_exp.exporters.network.records import NetworkRecords
from sailor_exp.files import json_file
from sailor_exp.files.json_file import checked, in_order


def with_links(path: Path, content: Mapping[str, Any], gpu: str, measured: NetworkRecords) -> dict[str, Any]:
    """Return the network file with the measured entries; all other entries stay. Raises DamagedFileError."""
    merged = {"inter": {}, "intra": {}} | dict(content)
    for link in measured.links:
        entries = counts_in(path, merged, link.scope, gpu) | {link.count: link.fitted.entry}
        gpus = json_file.objects_in(path, merged, link.scope)
        merged[link.scope] = {**gpus, gpu: _in_order_of_counts(entries)}
    return merged


def with_overlap(path: Path, content: Mapping[str, Any], gpu: str, measured: NetworkRecords) -> dict[str, Any]:
    """Return the overlap file with the measured coefficients; all other entries stay. Raises DamagedFileError."""
    former = checked(path, json_file.objects_in(path, content, gpu), BY_COUNT, gpu)
    coefficients = {ranks: slowdown.coefficient for ranks, slowdown in measured.slowdowns.items()}
    return {**content, gpu: _in_order_of_counts({**former, 1: 1.0, **coefficients})}


def _in_order_of_counts(entries: dict[int, Any]) -> dict[str, Any]:
    return {str(count): entry for count, entry in in_order(entries).items()}
