"""Reads JSON files that other tools may have written, and reports their faults.

Pydantic checks the shape. Every fault is a DamagedFileError that names the file, the place, and the content there.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sailor_exp.errors import DamagedFileError

_FAULT = "sailor_exp_fault"
_LONGEST = 60


def read_object(path: Path) -> dict[str, Any]:
    """Return the object that a file holds.

    Raises FileNotFoundError where there is no file, and the errors of `read_bytes` and `object_of`.
    """
    return object_of(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return the content of a file. Raises FileNotFoundError, DamagedFileError for any other reason."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(path, f"cannot be read: {error.strerror}") from error


def object_of(path: Path, text: bytes) -> dict[str, Any]:
    """Return the object that the content of a file is; every number in it is finite.

    Raises DamagedFileError for a file that is empty, truncated, not JSON or no object, or that has a number that is not
    finite.
    """
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
    """Return the object that a file holds, or an empty one where there is no file. Raises DamagedFileError."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return {}


def objects_in(path: Path, content: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Return the object under `keys`; empty where a key is absent. Raises DamagedFileError for anything else."""
    node: Any = content
    for depth, key in enumerate(keys):
        node = node.get(key, {})
        if not isinstance(node, dict):
            place = ".".join(keys[: depth + 1])
            raise DamagedFileError(path, f"{place} is {_kind(node)}, where an object is expected")
    return dict(node)


def bytes_of(content: object) -> bytes:
    """Return the content as JSON, indented by one, since people read these files. Raises ValueError for NaN."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


T = TypeVar("T")


def checked(path: Path, content: object, shape: TypeAdapter[T], *place: str) -> T:
    """Return the content at one place of a file, in the types of its shape.

    place: keys that lead to the content, for the message. Raises DamagedFileError for the first fault.
    """
    try:
        return shape.validate_python(content)
    except ValidationError as error:
        raise DamagedFileError(path, _fault_text(error.errors()[0], place)) from error


def in_order(content: dict[int, T]) -> dict[int, T]:
    """Return the object with its keys in rising order."""
    return dict(sorted(content.items()))


def _whole_number(key: object) -> int:
    if not (isinstance(key, str) and key.isascii() and key.isdigit()):
        raise PydanticCustomError(_FAULT, "has the key {key}, where a whole number is expected", {"key": repr(key)})
    return int(key)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError(_FAULT, "is {kind}, where a number is expected", {"kind": _kind(value)})
    return value


def not_negative(value: object) -> float:
    """Return the value if it is a number of at least 0. A validator: raises PydanticCustomError for other values."""
    number = _number(value)
    if number < 0:
        raise PydanticCustomError(_FAULT, "is {number}, below 0", {"number": str(number)})
    return number


def _count(value: object) -> int:
    number = not_negative(value)
    if number != int(number):
        raise PydanticCustomError(_FAULT, "is {number}, where a whole number is expected", {"number": str(number)})
    return int(number)


WholeKey = Annotated[int, BeforeValidator(_whole_number)]
"""A key whose text is a whole number."""
Number = Annotated[float, PlainValidator(_number)]
NotNegative = Annotated[float, PlainValidator(not_negative)]
Count = Annotated[int, PlainValidator(_count)]
"""Bytes or elements."""


def _fault_text(fault: ErrorDetails, place: tuple[str, ...]) -> str:
    steps = [*place, *(str(step) for step in fault["loc"])]
    of_a_key = steps[-1:] == ["[key]"]
    where = ".".join(steps[:-2] if of_a_key else steps) or "the file"
    match fault["type"]:
        case "missing":
            return f"{'.'.join(steps[:-1]) or 'the file'} has no {steps[-1]}"
        case "dict_type" | "model_type" | "dict_attributes_type":
            return f"{where} is {_kind(fault['input'])}, where an object is expected"
        case _:
            return f"{where} {fault['msg']}"


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
        str: f"the text {value!r:.{_LONGEST}}",
        bool: str(value).lower(),
        type(None): "null",
    }
    return names.get(type(value), f"the number {value}")
