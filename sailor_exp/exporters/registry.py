"""The exporters by the name that `exporter=` takes: the name of a file or a folder beside this one."""

from functools import cache
from importlib import import_module, util

from sailor_exp.exporters.exporter import Exporter

_PACKAGE = "sailor_exp.exporters"


@cache
def exporter_named(name: str) -> Exporter:
    """Return an exporter by its name. Raises KeyError for one that does not exist."""
    place = util.find_spec(f"{_PACKAGE}.{name}") if name.isidentifier() else None
    if place is None:
        raise KeyError(name)
    module = import_module(f"{place.name}.exporter" if place.submodule_search_locations else place.name)
    exporter = getattr(module, "EXPORTER", None)
    if not isinstance(exporter, Exporter):
        raise KeyError(name)
    return exporter


def name_faults(name: str) -> list[str]:
    """Return what is wrong with the name of an exporter, in one sentence."""
    try:
        exporter_named(name)
    except KeyError:
        return [f"exporter.name={name} is no exporter: sailor_exp/exporters/ has neither {name}.py nor {name}/"]
    return []
