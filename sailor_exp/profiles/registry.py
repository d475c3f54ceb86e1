"""The profiles by the name that `profile=` takes: a line each. Imported where they are used."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sailor_exp.config import Cell

if TYPE_CHECKING:
    from sailor_exp.profiles.profile import Profile

_PROFILES = {
    "layers": ("sailor_exp.results.layers:LayersResults", "sailor_exp.profiles.layers:LayersProfile"),
    "varuna": ("sailor_exp.results.varuna:VarunaResults", "sailor_exp.profiles.varuna:VarunaProfile"),
    "oobleck": ("sailor_exp.results.oobleck:OobleckResults", "sailor_exp.profiles.oobleck:OobleckProfile"),
    "check": ("sailor_exp.results.check:CheckResults", "sailor_exp.profiles.check:CheckProfile"),
    "galvatron": ("sailor_exp.results.galvatron:GalvatronResults", "sailor_exp.profiles.galvatron:GalvatronProfile"),
    "network": ("sailor_exp.results.network:NetworkResults", "sailor_exp.profiles.network:NetworkProfile"),
    "overlap": ("sailor_exp.results.overlap:OverlapResults", "sailor_exp.profiles.overlap:OverlapProfile"),
}
"""Each profile's description, which imports no torch, and the class that measures in a rank."""

NAMES = tuple(_PROFILES)


def profile_of(cell: Cell) -> "Profile":
    """Return the profile that a cell is measured with. Raises KeyError for one that does not exist."""
    return profile_named(cell.profile.name)


@cache
def profile_named(name: str) -> "Profile":
    """Return a profile by its name. Raises KeyError for one that does not exist."""
    described: Profile = _imported(_PROFILES[name][0])()
    return described


def rank_side(name: str) -> Any:
    """Return the class that measures the cells of a profile in a rank. Raises KeyError as above."""
    return _imported(_PROFILES[name][1])


def _imported(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
