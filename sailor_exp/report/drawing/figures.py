"""Numbers of the report, and where each stands in the records.

A formula is arithmetic over fields of a record, named by their place in its JSON. `base:` before a field means the
cell that another is compared with. The page carries formula, cell and value of every number, so that a reader, or a
test, can compute each of them again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from typing import Any

from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.record import Record
from sailor_exp.units import readable_bytes, readable_seconds

_NO_BREAK = "\N{NO-BREAK SPACE}"


class Unit(Enum):
    """What a number counts, which decides how it is written."""

    seconds = "s"
    bytes = "B"
    ratio = "1"
    count = "count"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number, with the name of what it is of: a cell, or a row of predictions.

    `base` names the cell that it is compared with. `half_width` is that of its 95 % interval, relative; None where it
    has none.
    """

    value: float
    unit: Unit
    of: str
    base: str | None = None
    half_width: float | None = None

    @property
    def text(self) -> str:
        """The number as people read it, with its unit."""
        return readable(self.value, self.unit)

    @property
    def interval_text(self) -> str:
        """The interval as people read it; empty where there is none."""
        return "" if self.half_width is None else f"±{percent(self.half_width)}"

    def attributes(self, *, named: bool = True, interval: bool = True) -> dict[str, str]:
        """Attributes of the element that shows the number; its formula stands on it or on one around it.

        named: whether what it is of stands on it too, and not on one around it. interval: whether its interval does,
        which in charts would be a tenth of the page; their tables have it.
        """
        found = {"data_value": exact(self.value), **({"data_of": self.of} if named else {})}
        if self.base is not None:
            found["data_base"] = self.base
        if interval and self.half_width is not None:
            found["data_interval"] = exact(self.half_width)
        return found


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Something that every record with numbers has: a sum of its fields, each taken `factor` times.

    `interval`: the field with the relative half-width of its 95 % interval. `per_sample`: divided by the microbatch.
    """

    label: str
    unit: Unit
    terms: tuple[tuple[int, str], ...]
    interval: str | None = None
    per_sample: bool = False

    @property
    def formula(self) -> str:
        total = " + ".join(field if factor == 1 else f"{factor} * {field}" for factor, field in self.terms)
        return f"({total}) / identity.mbs" if self.per_sample else total

    def of(self, key: CellKey, record: Record[Any]) -> Figure | None:
        """Return the quantity of a record, None where one of its fields is empty."""
        values = [(factor, field_of(record, field)) for factor, field in self.terms]
        if any(value is None for _, value in values):
            return None
        half_width = None if self.interval is None else field_of(record, self.interval)
        total = sum(factor * value for factor, value in values)
        return Figure(
            value=total / key.mbs if self.per_sample else total,
            unit=self.unit,
            of=name_of(key),
            half_width=half_width,
        )


@dataclass(frozen=True, kw_only=True)
class Formula:
    """The formula of a number and that of its interval, as the page carries them."""

    value: str
    interval: str | None = None

    def attributes(self) -> dict[str, str | None]:
        """Attributes of an element within which every number follows this formula."""
        return {"data_formula": self.value, "data_interval_formula": self.interval}


def formula_of(quantity: Quantity) -> Formula:
    """Return the formula of a quantity."""
    return Formula(value=quantity.formula, interval=quantity.interval)


def seconds(label: str, timing: str) -> Quantity:
    """Return the trimmed mean of a timing, which is what planners add up."""
    interval = f"{timing}.relative_half_width"
    return Quantity(label=label, unit=Unit.seconds, terms=((1, f"{timing}.value_s"),), interval=interval)


def field_of(record: Record[Any], field: str) -> Any:
    """Return a field of a record, or None where the record has none there.

    field: `identity.tp`, or a field of the measurement: `statistics.kinds.layer.forward.value_s`.
    """
    place = record if field.partition(".")[0] in Record.model_fields else record.measured
    return reduce(_step, field.split("."), place)


def name_of(key: CellKey) -> str:
    """Name of a cell in the page."""
    return f"tp{key.tp}-mbs{key.mbs}"


def readable(value: float, unit: Unit) -> str:
    """Return a number with its unit, which no line break parts; three digits where it is not a count."""
    match unit:
        case Unit.seconds:
            return readable_seconds(value).replace(" ", _NO_BREAK)
        case Unit.bytes:
            return readable_bytes(int(value)).replace(" ", _NO_BREAK)
        case Unit.ratio:
            return percent(value)
        case Unit.count:
            return f"{value:.0f}"


def exact(value: float) -> str:
    """Return a number for machines: whole numbers whole, others to nine digits, further than any timer sees."""
    return str(int(value)) if value == int(value) else f"{value:.9g}"


def percent(ratio: float) -> str:
    """Return a ratio in percent: one decimal below ten."""
    decimals = 1 if abs(ratio) < 0.0995 else 0  # noqa: PLR2004
    return f"{100 * ratio:.{decimals}f}{_NO_BREAK}%"


def highest(figures: Sequence[Figure]) -> float:
    """Return the upper end of the highest interval."""
    return max(figure.value * (1 + (figure.half_width or 0)) for figure in figures)


def _step(found: Any, name: str) -> Any:
    return found[name] if isinstance(found, dict) else getattr(found, name)
