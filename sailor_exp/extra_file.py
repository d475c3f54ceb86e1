"""Files that one profile's records of a directory make together: what planners read beside the gathered database."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sailor_exp import json_file, record
from sailor_exp.lock import locked
from sailor_exp.record import Record
from sailor_exp.storage import write_whole

_LOCK = ".sailor-exp.lock"


def bring_up_to_date(
    name: str, of: Record, profile_dir: Path, content: Callable[[Sequence[Record]], dict[str, Any]]
) -> None:
    """Write what all records that may stand beside `of` say; leave a file alone that says it already.

    A file is not made where there is nothing to say, and one that is there is emptied of what is no longer so.
    Raises StorageError, LockError, RecordError.
    """
    with locked(profile_dir / _LOCK):
        found = content(record.siblings(of, profile_dir))
        path, wanted = profile_dir / name, json_file.bytes_of(found)
        there = path.read_bytes() if path.exists() else None
        if there != wanted and (found or there is not None):
            write_whole(path, wanted)
