"""Files that planners read beside the gathered database, each from all records of a profile in a directory."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sailor_exp.files import json_file
from sailor_exp.files.lock import locked
from sailor_exp.files.whole import write_whole
from sailor_exp.records.files import read_all
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome, Record
from sailor_exp.records.selection import belongs, differences, select

_LOCK = ".sailor-exp.lock"

M = TypeVar("M")


def bring_up_to_date(
    name: Callable[[Identity], str],
    of: Identity,
    profile_dir: Path,
    schema: type[M],
    content: Callable[[Sequence[Record[M]]], dict[str, Any]],
) -> None:
    """Write the file of the ok records that belong to `of`, unless its content is right already.

    A new file is not written without content; an existing file loses what no record has any more. Warns of records that
    would have the same file and do not belong to `of`.
    Raises StorageError, LockError, RecordError.
    """
    with locked(profile_dir / _LOCK):
        records = [record for _, record in read_all(profile_dir, of.profile, schema)]
        counting = select(record for record in records if belongs(record.identity, of)).counting
        figures = content([record for record in counting if record.outcome is Outcome.ok])
        path = profile_dir / name(of)
        _warn_of_strangers([record.identity for record in records if _is_stranger(record, of, name)], of, path)
        current = path.read_bytes() if path.exists() else None
        if current != json_file.bytes_of(figures) and (figures or current is not None):
            write_whole(path, json_file.bytes_of(figures))


def _is_stranger(record: Record[Any], of: Identity, name: Callable[[Identity], str]) -> bool:
    of_the_same_file = record.outcome is Outcome.ok and name(record.identity) == name(of)
    return of_the_same_file and not belongs(record.identity, of)


def _warn_of_strangers(strangers: Sequence[Identity], of: Identity, path: Path) -> None:
    """Warn, because the file names neither precision nor shapes, and its readers take what it has."""
    if not strangers:
        return
    keys = dict.fromkeys(difference.key for stranger in strangers for difference in differences(stranger, of))
    warnings.warn(
        f"{path} has what was measured last. Records beside it ({len(strangers)}) have another {', '.join(keys)}, and "
        "are not in it: give them a profile_dir of their own, or the same command again before exporting them.",
        stacklevel=2,
    )
