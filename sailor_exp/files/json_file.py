"""Reads JSON that others may have written, and says what is wrong with it.

Every fault is a DamagedFileError that names the file and the place in it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sailor_exp.errors import DamagedFileError


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a file holds, every number in it finite.

    Raises FileNotFoundError where there is no file, DamagedFileError for one that is empty, truncated, not JSON, no
    object, or has a number that is not finite.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(path, f"cannot be read: {error.strerror}") from error
    if not text.strip():
        raise DamagedFileError(path, "is empty")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, f"is not JSON, or was cut off: {error}") from error
    if not isinstance(content, dict):
        raise DamagedFileError(path, f"holds {_kind(content)}, where an object is expected")
    for place, number in _not_finite(content):
        raise DamagedFileError(path, f"{place} is {number}, not a number that anything can be computed from")
    return content


def read_object_if_there(path: Path) -> dict[str, Any]:
    """Return the object that a file holds, an empty one where there is no file. Raises DamagedFileError as above."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}


def objects_in(path: Path, content: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the object under `keys`; empty where a key is absent. Raises DamagedFileError for anything else."""
    here: Any = content
    for depth, key in enumerate(keys):
        here = here.get(key, {})
        if not isinstance(here, dict):
            place = ".".join(keys[: depth + 1])
            raise DamagedFileError(path, f"{place} is {_kind(here)}, where an object is expected")
    return dict(here)


def whole_number(path: Path, key: str, place: str) -> int:
    """Return a key as the count that it writes. Raises DamagedFileError."""
    if not (key.isascii() and key.isdigit()):
        raise DamagedFileError(path, f"{place} has the key {key!r}, where a whole number is expected")
    return int(key)


def count(path: Path, value: object, place: str) -> int:
    """Return a number of bytes or elements: whole and not negative. Raises DamagedFileError."""
    found = not_negative(path, value, place)
    if found != int(found):
        raise DamagedFileError(path, f"{place} is {value}, where a whole number is expected")
    return int(found)


def not_negative(path: Path, value: object, place: str) -> float:
    """Return a number that is at least 0. Raises DamagedFileError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DamagedFileError(path, f"{place} is {_kind(value)}, where a number is expected")
    if value < 0:
        raise DamagedFileError(path, f"{place} is {value}, below 0")
    return value


def by_number(path: Path, content: Mapping[str, Any], place: str) -> dict[int, Any]:
    """Return an object by the whole numbers that its keys write, in their order. Raises DamagedFileError."""
    return dict(sorted((whole_number(path, key, place), value) for key, value in content.items()))


def numbers(path: Path, content: Mapping[str, Any], depth: int, place: str = "the file") -> dict[int, Any]:
    """Return nested objects, `depth` deep, by whole numbers, with numbers not below 0 in the innermost.

    Raises DamagedFileError.
    """
    found: dict[int, Any] = {}
    for key, value in sorted((whole_number(path, key, place), value) for key, value in content.items()):
        here = f"{place}.{key}" if place != "the file" else str(key)
        if depth == 1:
            found[key] = not_negative(path, value, here)
        elif isinstance(value, dict):
            found[key] = numbers(path, value, depth - 1, here)
        else:
            raise DamagedFileError(path, f"{here} is {_kind(value)}, where an object is expected")
    return found


def bytes_of(content: object) -> bytes:
    """JSON as it is written: indented by one, since people read these files. Raises ValueError for NaN."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _not_finite(value: object, place: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        if not math.isfinite(value):
            yield place, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _not_finite(child, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _not_finite(child, f"{place}[{index}]")


def _kind(value: object) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: f"the text {value!r}",
        bool: str(value).lower(),
        type(None): "null",
    }
    return names.get(type(value), f"the number {value}")
