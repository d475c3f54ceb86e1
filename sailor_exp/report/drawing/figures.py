"""Numbers of the report, each with its place in the records.

A formula is arithmetic over fields of a record, named by their place in its JSON. `base:` before a field means the
field of the cell that another cell is compared with. The page has formula, cell and value of every number, so that a
reader, or a test, can compute it again.
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
    """Unit of a number, which determines its format."""

    seconds = "s"
    bytes = "B"
    ratio = "1"
    count = "count"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number. `of`: the name of its cell, or of its row of predictions.

    `base`: the name of the cell that it is compared with. `half_width`: that of its 95 % interval, relative; None
    where it has none.
    """

    value: float
    unit: Unit
    of: str
    base: str | None = None
    half_width: float | None = None

    @property
    def text(self) -> str:
        """The number as text, with its unit."""
        return readable(self.value, self.unit)

    @property
    def interval_text(self) -> str:
        """The interval as text; empty where there is none."""
        return "" if self.half_width is None else f"±{percent(self.half_width)}"

    def attributes(self, *, named: bool = True, interval: bool = True) -> dict[str, str]:
        """Return the attributes of the element that shows the number; an element around it may have its formula.

        named: whether they contain `of`; otherwise an element around it has it. interval: whether they contain the
        interval. In charts the intervals would be a tenth of the page; the tables of the charts have them.
        """
        attributes = {"data_value": exact(self.value), **({"data_of": self.of} if named else {})}
        if self.base is not None:
            attributes["data_base"] = self.base
        if interval and self.half_width is not None:
            attributes["data_interval"] = exact(self.half_width)
        return attributes


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A sum of fields of a record, each multiplied by its factor. `terms`: factors and fields.

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
        """Return the figure of a record; None where one of the fields is empty."""
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
    """The formula of a number and that of its interval, as the page has them."""

    value: str
    interval: str | None = None

    def attributes(self) -> dict[str, str | None]:
        """Return the attributes of an element in which every number follows this formula."""
        return {"data_formula": self.value, "data_interval_formula": self.interval}


def formula_of(quantity: Quantity) -> Formula:
    """Return the formula of a quantity."""
    return Formula(value=quantity.formula, interval=quantity.interval)


def seconds(label: str, timing: str) -> Quantity:
    """Return the quantity of a timing: its trimmed mean, which planners add up."""
    interval = f"{timing}.relative_half_width"
    return Quantity(label=label, unit=Unit.seconds, terms=((1, f"{timing}.value_s"),), interval=interval)


def field_of(record: Record[Any], field: str) -> Any:
    """Return a field of a record; None where the record lacks it.

    field: `identity.tp`, or a field of the measurement: `statistics.kinds.layer.forward.value_s`.
    """
    place = record if field.partition(".")[0] in Record.model_fields else record.measured
    return reduce(_step, field.split("."), place)


def name_of(key: CellKey) -> str:
    """Return the name of a cell in the page."""
    return f"tp{key.tp}-mbs{key.mbs}"


def readable(value: float, unit: Unit) -> str:
    """Return a number with its unit, without a line break between them; seconds and bytes in three digits."""
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
    """Return a number for machines: a whole number in full, others to nine digits, more than any timer resolves."""
    return str(int(value)) if value == int(value) else f"{value:.9g}"


def percent(ratio: float) -> str:
    """Return a ratio in percent: one decimal below ten."""
    decimals = 1 if abs(ratio) < 0.0995 else 0  # noqa: PLR2004
    return f"{100 * ratio:.{decimals}f}{_NO_BREAK}%"


def highest(figures: Sequence[Figure]) -> float:
    """Return the upper end of the highest interval."""
    return max(figure.value * (1 + (figure.half_width or 0)) for figure in figures)


def _step(place: Any, name: str) -> Any:
    return place[name] if isinstance(place, dict) else getattr(place, name)
