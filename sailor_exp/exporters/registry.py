"""The exporters by name: `exporter=` takes the name of a module or a folder beside this one."""

from functools import cache
from importlib import import_module, util
from importlib.machinery import ModuleSpec

from sailor_exp.exporters.exporter import Exporter

_PACKAGE = "sailor_exp.exporters"


@cache
def exporter_named(name: str) -> Exporter:
    """Return an exporter by its name. Raises KeyError for one that does not exist."""
    spec = _spec(name)
    if spec is None:
        raise KeyError(name)
    module = import_module(f"{spec.name}.exporter" if spec.submodule_search_locations else spec.name)
    exporter = getattr(module, "EXPORTER", None)
    if not isinstance(exporter, Exporter):
        raise KeyError(name)
    return exporter


def name_faults(name: str) -> list[str]:
    """Return the fault of an exporter's name in one sentence; empty where the name is right."""
    try:
        exporter_named(name)
    except KeyError:
        absent = f"does not exist: sailor_exp/exporters/ has no {name}.py or {name}/"
        return [f"exporter.name={name} {'has no EXPORTER' if _spec(name) else absent}"]
    return []


def _spec(name: str) -> ModuleSpec | None:
    return util.find_spec(f"{_PACKAGE}.{name}") if name.isidentifier() else None
