"""The exporters by name: `exporter=` takes the name of a module or a folder beside this one."""

import pkgutil
from functools import cache
from importlib import import_module, util

from sailor_exp.config.schema import GatherConfig
from sailor_exp.exporters.exporter import Exporter

_PACKAGE = "sailor_exp.exporters"

ALL = "sailor"
"""The exporter with which `ready=true` asks about every planner: the default."""


@cache
def exporter_named(name: str) -> Exporter:
    """Return an exporter by its name. Raises KeyError for one that does not exist."""
    spec = util.find_spec(f"{_PACKAGE}.{name}") if name.isidentifier() else None
    if spec is None:
        raise KeyError(name)
    folder = spec.submodule_search_locations is not None
    if folder and util.find_spec(f"{spec.name}.exporter") is None:
        raise KeyError(name)
    module = import_module(f"{spec.name}.exporter" if folder else spec.name)
    exporter = getattr(module, "EXPORTER", None)
    if not isinstance(exporter, Exporter):
        raise KeyError(name)
    return exporter


def name_faults(name: str) -> list[str]:
    """Return the fault of an exporter's name in one sentence; empty where the name is right."""
    try:
        exporter_named(name)
    except KeyError:
        choices = ", ".join(module for module in _modules() if _is_exporter(module))
        return [f"exporter.name={name} is no exporter of sailor_exp/exporters/. Choose from {choices}."]
    return []


def planners() -> list[str]:
    """Return the names of the exporters that planners read."""
    return [name for name in _modules() if _is_exporter(name) and exporter_named(name).reader is not None]


def ready_faults(gather: GatherConfig) -> list[str]:
    """Return the faults of the question whether planners are ready, one sentence each."""
    name = gather.exporter.name
    if not gather.ready or name_faults(name):
        return []
    writes = [f"ready=true writes nothing: leave out {key}=true" for key in ("report", "check") if getattr(gather, key)]
    if name != ALL and exporter_named(name).reader is None:
        return [*writes, f"ready=true asks about planners, and exporter={name} is none: {', '.join(planners())}"]
    return writes


def _modules() -> list[str]:
    package = import_module(_PACKAGE)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def _is_exporter(name: str) -> bool:
    try:
        exporter_named(name)
    except KeyError:
        return False
    return True
