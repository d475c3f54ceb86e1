"""Writes each record whole, and validates it when it is read.

`schema` is always the type of the measurement of the record's profile.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sailor_exp.errors import RecordError
from sailor_exp.files.whole import make_directory, remove_unfinished, write_whole
from sailor_exp.records.record import FIRST_VERSION, FORMAT, VERSION, Outcome, Record

M = TypeVar("M")


def records_directory(profile_dir: Path) -> Path:
    """Return the directory of the records of a profile directory."""
    return profile_dir / "records"


def prepare(profile_dir: Path) -> None:
    """Make the directories of a sweep, and remove what killed writers left in them.

    Raises StorageError, and so before any measurement that could not be stored.
    """
    records = records_directory(profile_dir)
    for directory in (profile_dir, records, records / "superseded", profile_dir / "logs"):
        make_directory(directory)
        remove_unfinished(directory)


def write(record: Record[Any], profile_dir: Path) -> Path:
    """Write the record whole, and return its path. A measured record that it replaces is kept under `superseded/`.

    Raises StorageError, and RecordError where the former record cannot be read.
    """
    path = records_directory(profile_dir) / record.file_name
    if path.exists() and (former := read(path, dict)).outcome is Outcome.ok:
        stamp = former.finished_at.replace(":", "")
        write_whole(path.parent / "superseded" / f"{path.stem}_{stamp}.json", path.read_bytes())
    write_whole(path, _lines(record.model_dump(mode="json")))
    return path


def read(path: Path, schema: type[M]) -> Record[M]:
    """Read and validate one record.

    Raises RecordError for a file that is damaged or foreign, or whose version or measurement this code cannot read.
    """
    return _validated(path, _content(path), schema)


def read_all(profile_dir: Path, profile: str, schema: type[M]) -> Iterator[tuple[Path, Record[M]]]:
    """Yield the records of one profile in a profile directory, by name. Raises RecordError at the first bad one."""
    for path in sorted(records_directory(profile_dir).glob(f"{profile}_*.json")):
        content = _content(path)
        if _profile(content) == profile:
            yield path, _validated(path, content, schema)


def read_every(profile_dir: Path, schema_of: Callable[[str], type[Any]]) -> Iterator[tuple[Path, Record[Any]]]:
    """Yield the records of all profiles in a profile directory, by name.

    schema_of: returns the schema of the profile with a name, and raises KeyError where there is no such profile.
    Raises RecordError at the first record that cannot be read.
    """
    for path in sorted(records_directory(profile_dir).glob("*.json")):
        content = _content(path)
        try:
            schema = schema_of(_profile(content))
        except KeyError as error:
            raise RecordError(path, f"is of profile={_profile(content)}, which this code does not have") from error
        yield path, _validated(path, content, schema)


def _content(path: Path) -> dict[str, Any]:
    """Return the JSON of a record that has a version which this code reads. Raises RecordError."""
    try:
        text = path.read_bytes()
        content = json.loads(text, parse_constant=_refuse_constant) if text.strip() else None
    except OSError as error:
        raise RecordError(path, f"cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(path, f"is not JSON, or was cut off: {error}") from error
    except ValueError as error:
        raise RecordError(path, f"holds what no record may: {error}") from error
    if content is None:
        raise RecordError(path, "is empty")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordError(path, f"is not a {FORMAT}")
    if content.get("version") not in (FIRST_VERSION, VERSION):
        versions = f"versions {FIRST_VERSION} to {VERSION}"
        raise RecordError(path, f"has version {content.get('version')!r}; this code reads {versions}")
    return content


def _profile(content: Mapping[str, Any]) -> str:
    identity = content.get("identity")
    return str(identity.get("profile")) if isinstance(identity, dict) else "None"


def _validated(path: Path, content: dict[str, Any], schema: type[M]) -> Record[M]:
    try:
        return Record[schema].model_validate(content)  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "record"
        raise RecordError(path, f"{place}: {first['msg']} ({error.error_count()} faults)") from error


def _lines(content: Mapping[str, Any]) -> bytes:
    """Return JSON with a line for each top-level key, and for each key of the measurement.

    Samples are long, and people look for the other keys.
    """
    lines = [f"{json.dumps(key)}: {_value(value, key)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _value(value: Any, key: str) -> str:
    if key != "measurement" or value is None:
        return json.dumps(value, allow_nan=False)
    lines = [f" {json.dumps(name)}: {json.dumps(part, allow_nan=False)}" for name, part in value.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number" if math.isnan(float(name)) else f"{name} is not finite")
