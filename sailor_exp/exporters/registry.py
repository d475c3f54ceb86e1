"""The exporters by the name that `exporter=` takes: the name of a file or a folder beside this one."""

from functools import cache
from importlib import import_module, util

from sailor_exp.errors import UnknownExporterError
from sailor_exp.exporters.exporter import Exporter

_PACKAGE = "sailor_exp.exporters"


@cache
def exporter_named(name: str) -> Exporter:
    """Return an exporter by its name. Raises UnknownExporterError for one that does not exist."""
    place = util.find_spec(f"{_PACKAGE}.{name}")
    if place is None:
        raise UnknownExporterError(name)
    module = import_module(f"{place.name}.exporter" if place.submodule_search_locations else place.name)
    exporter = getattr(module, "EXPORTER", None)
    if not isinstance(exporter, Exporter):
        raise UnknownExporterError(name)
    return exporter
