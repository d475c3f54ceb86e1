"""Merges what was measured of one GPU's links into the files of all GPUs, which others own too.

Formats: eth-easl/sailor at cf2c8e3, sailor/providers/network_coeffs_all_homo.json, of which readers take the first two
elements of an entry, and every key below a GPU for a number: what a fit is good for stands in neither. So it is made to
be good over all that was measured, and entries look as published. And sailor/Planner/baselines/Galvatron/
overlap_coe_dicts.json: {gpu: {gpus_per_vm: coefficient}}, where one GPU has nothing to overlap with.
"""

from pathlib import Path
from typing import Any

from sailor_exp.errors import ConfigurationError
from sailor_exp.exporters.network.records import NetworkRecords
from sailor_exp.files import json_file, whole
from sailor_exp.files.lock import locked


def merge(*, lock: Path, network_file: Path, overlap_file: Path, gpu: str, found: NetworkRecords) -> list[Path]:
    """Replace the entries that were measured; everything else stays. Returns the files written.

    Raises DamagedFileError, LockError or StorageError; the files are then as they were, or each as it was or as it
    shall be where writing itself failed.
    """
    with locked(lock):
        contents: dict[Path, dict[str, Any]] = {}
        if found.links:
            contents[network_file] = _with_links(network_file, gpu, found)
        if found.slowdowns:
            contents[overlap_file] = _with_overlap(overlap_file, gpu, found)
        for path, content in contents.items():
            whole.make_directory(path.parent)
            whole.remove_unfinished(path.parent)
            whole.write_whole(path, json_file.bytes_of(content))
    return list(contents)


def file_of(given: str | None, key: str) -> Path:
    """Return the file that a key of the configuration names. Raises ConfigurationError where it names none."""
    if given is None:
        raise ConfigurationError([f"{key} is not given, and exporter=network merges into it"])
    return Path(given)


def _with_links(path: Path, gpu: str, found: NetworkRecords) -> dict[str, Any]:
    content = json_file.read_object_if_there(path)
    for link in found.links:
        fit, highest = link.fitted.fit, link.fitted.max_bytes_per_s
        gpus = json_file.objects_in(path, content, link.scope)
        entry = json_file.objects_in(path, content, link.scope, gpu)
        entry[str(link.count)] = [[fit.a, fit.b, fit.c], highest]
        content[link.scope] = {**gpus, gpu: _in_order(path, entry, f"{link.scope}.{gpu}")}
    return {"inter": {}, "intra": {}} | content


def _with_overlap(path: Path, gpu: str, found: NetworkRecords) -> dict[str, Any]:
    content = json_file.read_object_if_there(path)
    entry = json_file.objects_in(path, content, gpu)
    entry |= {"1": 1.0} | {str(ranks): slowdown.coefficient for ranks, slowdown in found.slowdowns.items()}
    return {**content, gpu: _in_order(path, entry, gpu)}


def _in_order(path: Path, entry: dict[str, Any], place: str) -> dict[str, Any]:
    return {str(count): value for count, value in json_file.by_number(path, entry, place).items()}
