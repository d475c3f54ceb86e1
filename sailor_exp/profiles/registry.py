"""The profiles by the name that `profile=` takes: the name of a folder beside this file.

There is no list. `profile.py` of a folder has the object that a login node uses, as `PROFILE`; `rank.py` has the class
that measures in a rank, as `RANK`.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sailor_exp.config.schema import Cell

if TYPE_CHECKING:
    from sailor_exp.profiles.profile import Profile

NAMES = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/profile.py")))


def profile_of(cell: Cell) -> "Profile[Any, Any]":
    """Return the profile of a cell. Raises KeyError if it does not exist."""
    return profile_named(cell.profile.name)


@cache
def profile_named(name: str) -> "Profile[Any, Any]":
    """Return a profile by its name. Raises KeyError if it does not exist."""
    if name not in NAMES:
        raise KeyError(name)
    profile: Profile[Any, Any] = import_module(f"sailor_exp.profiles.{name}.profile").PROFILE
    return profile


def rank_side(name: str) -> Any:
    """Return the class that measures the cells of a profile in a rank. Raises KeyError if it does not exist."""
    if name not in NAMES:
        raise KeyError(name)
    return import_module(f"sailor_exp.profiles.{name}.rank").RANK
