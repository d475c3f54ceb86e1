"""`exporter=network`: fits of a GPU's links and its overlap coefficients, merged into the files of all GPUs."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sailor_exp.errors import ConfigurationError, MissingPackageError, NoLinkMeasuredError
from sailor_exp.exporters.exporter import Export, Exporter
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.needs import links_and_overlap
from sailor_exp.exporters.network import plot
from sailor_exp.exporters.network.bandwidths import merged_bandwidths, places_in
from sailor_exp.exporters.network.checkout import lines_to_add
from sailor_exp.exporters.network.merge import with_links, with_overlap
from sailor_exp.exporters.network.records import NetworkRecords, read
from sailor_exp.exporters.network.show import shown, shown_lines
from sailor_exp.files import json_file


def files(inputs: Inputs) -> Export:
    """Return the files with the measured entries of the GPU, and a picture of the fits.

    Raises NoLinkMeasuredError where nothing was measured, MixedRecordsError, RecordError, DamagedFileError,
    UnknownZoneError, NotACheckoutError, and ConfigurationError where a file to merge into is not given.
    """
    network_path, overlap_path = (_path(inputs, key) for key in ("network_file", "overlap_file"))
    places = places_in(inputs)
    measured = read(inputs.config)
    if not measured.has_numbers:
        return _without_numbers(inputs, measured)
    for warning in measured.warnings:
        warnings.warn(warning, stacklevel=2)
    lines = lines_to_add(inputs.place.root, gpu=inputs.gpu, memory_gb=inputs.config.gpu.memory_gb, zone=places.zone)
    picture = _picture(inputs, measured)
    bandwidths = merged_bandwidths(inputs, places, measured.links)
    contents = {
        **(_merged(inputs, network_path, with_links, measured) if measured.links else {}),
        **(_merged(inputs, overlap_path, with_overlap, measured) if measured.slowdowns else {}),
        **bandwidths.files,
        **picture,
    }
    texts = [*shown(measured), *bandwidths.shown, *shown_lines(inputs.place.root, lines)]
    return Export(files=contents, shown=tuple(texts), lacking=measured.lacking)


def _path(inputs: Inputs, key: str) -> Path:
    path = inputs.file(key)
    if path is None:
        raise ConfigurationError([f"exporter.{key} is not given, and exporter=network merges into it"])
    return path


def _without_numbers(inputs: Inputs, measured: NetworkRecords) -> Export:
    if measured.lacking:
        return Export(files={}, lacking=(*measured.lacking, "nothing was written"))
    commands = "`, `".join(inputs.advice.links())
    raise NoLinkMeasuredError(Path(inputs.config.network_dir), gpu=inputs.gpu, command=commands)


def _merged(
    inputs: Inputs,
    path: Path,
    merge: Callable[[Path, Mapping[str, Any], str, NetworkRecords], dict[str, Any]],
    measured: NetworkRecords,
) -> dict[Path, bytes]:
    return {path: json_file.bytes_of(merge(path, inputs.shared(path), inputs.gpu, measured))}


def _picture(inputs: Inputs, measured: NetworkRecords) -> dict[Path, bytes]:
    if not measured.links:
        return {}
    path = inputs.place.root / "plots" / f"network_{inputs.gpu}.png"
    try:
        return {path: plot.as_png(inputs.gpu, measured.links)}
    except MissingPackageError as error:
        warnings.warn(str(error), stacklevel=3)
        return {}


EXPORTER = Exporter(files=files, needs=links_and_overlap, about_model=False)
