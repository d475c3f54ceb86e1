"""What a cell can measure, by the name that `profile=` takes. Each is imported where it runs, in a rank."""

from importlib import import_module
from typing import Any

_RANK_SIDES = {"layers": "sailor_exp.profiles.layers:LayersProfile"}


def rank_side(name: str) -> Any:
    """Return the class that measures the cells of a profile in a rank.

    Raises KeyError for a profile that does not exist; the configuration has only those that do.
    """
    module, _, attribute = _RANK_SIDES[name].partition(":")
    return getattr(import_module(module), attribute)
