"""Bandwidth fits between and within machines, and the times that follow from them.

Format: eth-easl/sailor at cf2c8e3, sailor/providers/network_coeffs_all_homo.json:
{"inter": {gpu: {pairs: [[a, b, c], max_bytes_per_s]}}, "intra": {gpu: {ranks: <the same>}}}. With x = log2(bytes / 1e6)
the bandwidth is a x^2 + b x + c in units of 1e9 bytes/s. `inter` counts the concurrent pairs between two machines,
`intra` the ranks inside one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sailor_exp.errors import DamagedFileError, FitError
from sailor_exp.files import json_file
from sailor_exp.files.json_file import Number, WholeKey, checked, in_order
from sailor_exp.units import MIB

LARGEST_MESSAGE_BYTES = 256 * MIB
"""Largest message whose time an exporter takes from a fit (exporters/galvatron/exporter.py)."""

BY_COUNT: TypeAdapter[dict[int, Any]] = TypeAdapter(dict[WholeKey, Any])
"""Entries of the network and the overlap file, by a count of ranks or pairs."""

_LN2 = math.log(2)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Bandwidth over the size of a message. `name`: the name of the fit in errors and warnings.

    The time of a message must grow with its size. For small messages a fit breaks this rule: its bandwidth approaches
    zero and becomes negative. So a message below `least_bytes` takes the time of one of `least_bytes`, the least time
    that the fit gives: a latency.
    """

    name: str
    a: float
    b: float
    c: float

    def seconds(self, message_bytes: float) -> float:
        """Return the time of one message; only a message of no bytes takes no time.

        Raises FitError where the fit gives no bandwidth above 0.
        """
        if message_bytes <= 0:
            return 0.0
        size = max(message_bytes, self.least_bytes)
        gigabytes_per_s = self.gigabytes_per_s(size)
        if gigabytes_per_s <= 0:
            raise FitError(self.name, message_bytes=size, gigabytes_per_s=gigabytes_per_s)
        return size / 1e9 / gigabytes_per_s

    def all_reduce_s(self, message_bytes: float, ranks: int) -> float:
        """Return the time of a ring all-reduce: 2(n-1) steps of 1/n of the message."""
        return 2 * (ranks - 1) * self.seconds(message_bytes / ranks)

    @cached_property
    def least_bytes(self) -> float:
        """Size below which the fitted time grows as messages become smaller; 0 where it never does.

        With bandwidth g(x) the time is proportional to 2^x / g(x). It grows with x where g(x) ln 2 - g'(x), again a
        parabola, is above 0.
        """
        a, b, c = self.a * _LN2, self.b * _LN2 - 2 * self.a, self.c * _LN2 - self.b
        edge = _lower_edge(a, b, c)
        return 0.0 if edge is None else 1e6 * 2**edge

    def gigabytes_per_s(self, message_bytes: float) -> float:
        """Return the value of the parabola for a size, which may be negative."""
        x = math.log2(message_bytes / 1e6)
        return self.a * x * x + self.b * x + self.c


def _lower_edge(a: float, b: float, c: float) -> float | None:
    """Return the lower end of the range of largest x where a x^2 + b x + c is above 0; None where it has none."""
    if a == 0:
        return -c / b if b > 0 else None
    discriminant = b * b - 4 * a * c
    if discriminant <= 0:
        return None
    roots = [(-b - math.sqrt(discriminant)) / (2 * a), (-b + math.sqrt(discriminant)) / (2 * a)]
    return min(roots) if a < 0 else max(roots)


@dataclass(frozen=True, kw_only=True)
class Network:
    """The fits of one GPU: `inter` by concurrent pairs, `intra` by ranks, both in rising order."""

    inter: Mapping[int, Fit]
    intra: Mapping[int, Fit]


def read_network(path: Path, gpu: str) -> Network:
    """Read the fits of one GPU; empty where the file has none.

    Raises FileNotFoundError, and DamagedFileError for a file of another shape.
    """
    content = json_file.read_object(path)
    return Network(inter=_fits(path, content, "inter", gpu), intra=_fits(path, content, "intra", gpu))


def fit_name(scope: str, gpu: str, count: int) -> str:
    """Return the name of a fit in errors and warnings."""
    return f"{scope} fit of {gpu} for {count} {'concurrent pairs' if scope == 'inter' else 'ranks'}"


def counts_in(path: Path, content: Mapping[str, Any], scope: str, gpu: str) -> dict[int, Any]:
    """Return the entries of a scope and GPU by their counts, in rising order. Raises DamagedFileError."""
    entries = json_file.objects_in(path, content, scope, gpu)
    return in_order(checked(path, entries, BY_COUNT, scope, gpu))


def _fits(path: Path, content: Mapping[str, Any], scope: str, gpu: str) -> dict[int, Fit]:
    return {
        count: _fit(path, entry, fit_name(scope, gpu, count))
        for count, entry in counts_in(path, content, scope, gpu).items()
    }


def _fit(path: Path, entry: object, name: str) -> Fit:
    try:
        a, b, c = _COEFFICIENTS.validate_python(entry[0] if isinstance(entry, list) and entry else None)
    except ValidationError as error:
        expected = "where [[a, b, c], max_bytes_per_s] of numbers is expected"
        raise DamagedFileError(path, f"the {name} is {entry!r:.60}, {expected}") from error
    return Fit(name=name, a=a, b=b, c=c)


_COEFFICIENTS: TypeAdapter[tuple[float, float, float]] = TypeAdapter(tuple[Number, Number, Number])
