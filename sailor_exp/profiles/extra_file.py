"""Files that one profile's records of a directory make together: what planners read beside the gathered database."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sailor_exp.files import json_file
from sailor_exp.files.lock import locked
from sailor_exp.files.whole import write_whole
from sailor_exp.records import identity, selection
from sailor_exp.records.record import Record

_LOCK = ".sailor-exp.lock"


def bring_up_to_date(
    name: Callable[[Record], str], of: Record, profile_dir: Path, content: Callable[[Sequence[Record]], dict[str, Any]]
) -> None:
    """Write what all records that may stand beside `of` say; leave a file alone that says it already.

    A file is not made where there is nothing to say, and one that is there is emptied of what is no longer so. Warns
    of records that would have the same file and may not stand in it with these.
    Raises StorageError, LockError, RecordError.
    """
    with locked(profile_dir / _LOCK):
        found = content(selection.siblings(of, profile_dir))
        path, wanted = profile_dir / name(of), json_file.bytes_of(found)
        _warn_of_strangers([each for each in selection.strangers(of, profile_dir) if name(each) == name(of)], of, path)
        there = path.read_bytes() if path.exists() else None
        if there != wanted and (found or there is not None):
            write_whole(path, wanted)


def _warn_of_strangers(strangers: Sequence[Record], of: Record, path: Path) -> None:
    """A file says neither precision nor shapes: its readers take what they find."""
    if not strangers:
        return
    own = identity.but_for_the_cell(of.identity)
    others = [identity.but_for_the_cell(stranger.identity) for stranger in strangers]
    keys = [key for key, value in own.items() if any(other[key] != value for other in others)]
    warnings.warn(
        f"{path} has what was measured last. Records beside it ({len(strangers)}) have another {', '.join(keys)}, and "
        "are not in it: give them a profile_dir of their own, or the same command again before exporting them.",
        stacklevel=2,
    )
