"""Reads what an exporter's registry line asks for, and names the command that makes what is not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sailor_exp.config.parameter_bytes import bytes_per_parameter
from sailor_exp.config.schema import ExporterConfig, GatherConfig
from sailor_exp.errors import DamagedFileError, MissingInputError
from sailor_exp.exporters.network.fits import read_network
from sailor_exp.exporters.registry import Exporter
from sailor_exp.exporters.sailor.database import Place, load
from sailor_exp.exporters.source import Activations, Overlap, PeakMemory, Source, Strategies
from sailor_exp.files import json_file
from sailor_exp.profiles.advice import advice_of
from sailor_exp.units import GIB

_Read = TypeVar("_Read")


def source_of(config: GatherConfig, exporter: Exporter) -> Source:
    """Read the gathered database, and what else the planner needs.

    Raises MissingInputError for what is not there, DamagedFileError and LayerIdsError for what cannot be used.
    """
    given = config.exporter
    return Source(
        model=config.model,
        gpu=config.gpu.name,
        advice=advice_of(config),
        gpu_memory_bytes=int(config.gpu.memory_gb * GIB),
        gpus_per_vm=config.vm.gpus,
        bytes_per_parameter=bytes_per_parameter(config.precision, config.optimizer),
        max_nodes=given.max_nodes,
        database=load(place_of(config), config.model, advice_of(config).gather()),
        peaks=_extra(config, _peaks) if exporter.extra == "varuna" else None,
        activations=_extra(config, _activations) if exporter.extra == "oobleck" else None,
        strategies=_extra(config, _strategies) if exporter.extra == "galvatron" else None,
        overlap=_read(given.overlap_file, "overlap", config, _overlap(config)) if exporter.overlap else None,
        network=_read(given.network_file, "network", config, lambda path, _: read_network(path, config.gpu.name))
        if exporter.network
        else None,
    )


def unread_files(given: ExporterConfig, exporter: Exporter) -> list[str]:
    """Keys of files that are given and that the planner needs nothing of."""
    read = {"extra_file": exporter.extra, "network_file": exporter.network, "overlap_file": exporter.overlap}
    return [key for key, needed in read.items() if getattr(given, key) is not None and not needed]


def place_of(config: GatherConfig) -> Place:
    """Where the gathered files of the configured model and GPU lie."""
    return Place(root=Path(config.export_root), model=config.model.name, gpu=config.gpu.name)


def _extra(config: GatherConfig, read: Callable[[Path, str], _Read]) -> _Read:
    return _read(config.exporter.extra_file, config.exporter.name, config, read, key="exporter.extra_file")


def _read(
    file: str | None, profile: str, config: GatherConfig, read: Callable[[Path, str], _Read], key: str | None = None
) -> _Read:
    command = advice_of(config).profile(profile)
    key = key or f"exporter.{profile}_file"
    path = Path(file or f"({key} is not given)")
    try:
        return read(path, command)
    except FileNotFoundError as error:
        raise MissingInputError(path, what=f"the {profile} profile", command=command, key=key) from error


def _peaks(path: Path, command: str) -> PeakMemory:
    return PeakMemory(path=path, command=command, peak_bytes=json_file.numbers(path, json_file.read_object(path), 3))


def _activations(path: Path, command: str) -> Activations:
    found = json_file.numbers(path, json_file.read_object(path), 2)
    return Activations(path=path, command=command, activation_bytes=found)


def _strategies(path: Path, command: str) -> Strategies:
    content = json_file.read_object(path)
    return Strategies(path=path, command=command, mebibytes={name: _mebibytes(path, content, name) for name in content})


def _mebibytes(path: Path, content: dict[str, Any], name: str) -> dict[str, float]:
    """Values of one strategy; of anything else in the file those that are numbers."""
    values = json_file.objects_in(path, content, name)
    for key, value in values.items():
        if key.startswith("layernum") and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise DamagedFileError(path, f"{name}.{key} is {value!r:.60}, where MiB are expected")
    return {key: value for key, value in values.items() if key.startswith("layernum")}


def _overlap(config: GatherConfig) -> Callable[[Path, str], Overlap]:
    def read(path: Path, command: str) -> Overlap:
        content = json_file.objects_in(path, json_file.read_object(path), config.gpu.name)
        return Overlap(path=path, command=command, coefficients=json_file.numbers(path, content, 1))

    return read
