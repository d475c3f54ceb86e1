"""Records on disk: each is written whole, and validated when it is read."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sailor_exp.errors import RecordError
from sailor_exp.files.whole import make_directory, remove_unfinished, write_whole
from sailor_exp.records.record import FORMAT, VERSION, Outcome, Record


def records_directory(profile_dir: Path) -> Path:
    """Where the records of a profile directory lie."""
    return profile_dir / "records"


def prepare(profile_dir: Path) -> None:
    """Make the directories of a sweep, and clear what writers that were killed left in them.

    Raises StorageError before anything is measured that could not be kept.
    """
    records = records_directory(profile_dir)
    for directory in (profile_dir, records, records / "superseded", profile_dir / "logs"):
        make_directory(directory)
        remove_unfinished(directory)


def write(record: Record, profile_dir: Path) -> Path:
    """Write the record whole; a measured one that it replaces is kept under `superseded/`.

    Raises StorageError.
    """
    path = records_directory(profile_dir) / record.file_name
    if path.exists() and (former := read(path)).outcome is Outcome.ok:
        stamp = former.provenance.finished_at.replace(":", "")
        write_whole(path.parent / "superseded" / f"{path.stem}_{stamp}.json", path.read_bytes())
    write_whole(path, _lines(record.model_dump(mode="json")))
    return path


def read(path: Path) -> Record:
    """Read and validate one record.

    Raises RecordError for a file that is damaged, foreign, or of a version that this code does not know.
    """
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
    if content.get("version") != VERSION:
        raise RecordError(path, f"has version {content.get('version')!r}; this code reads version {VERSION}")
    try:
        return Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "record"
        raise RecordError(path, f"{place}: {first['msg']} ({error.error_count()} faults)") from error


def read_all(profile_dir: Path, profile: str | None = None) -> Iterator[tuple[Path, Record]]:
    """All records of a profile directory, or of one profile, by name.

    Raises RecordError at the first that cannot be read.
    """
    for path in sorted(records_directory(profile_dir).glob(f"{profile}_*.json" if profile else "*.json")):
        yield path, read(path)


def _lines(content: Mapping[str, Any]) -> bytes:
    """JSON with a line for each top-level key: samples are long, and a person looks for the rest."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number" if math.isnan(float(name)) else f"{name} is not finite")
