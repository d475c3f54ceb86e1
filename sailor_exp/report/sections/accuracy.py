"""Predicted against measured: the error of the sum of the parts against a real step."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from xml.etree import ElementTree as ET

from sailor_exp.exporters.sailor.accuracy import CheckedCell
from sailor_exp.profiles.check.comparison import COMPARED, PEAK, Comparison, quantity_name, source_name
from sailor_exp.report.concern import measure_command
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.charts import error_chart, mark
from sailor_exp.report.drawing.figures import Figure, Unit, exact, percent, readable
from sailor_exp.report.drawing.layout import figure_cell, folded, scrolled, section
from sailor_exp.report.drawing.markup import tag
from sailor_exp.report.drawing.scales import Scale, linear_scale

_ROW = 40
_APART = 7
_LEFT, _RIGHT = 150, 20
_WIDE = 520
ERROR = "(predicted - measured) / measured"


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One quantity of one training step, predicted and measured."""

    cell: CheckedCell
    compared: Comparison

    @property
    def unit(self) -> Unit:
        return Unit.bytes if self.compared.quantity == PEAK else Unit.seconds

    @property
    def style(self) -> int:
        return COMPARED.index(self.compared.quantity)

    @property
    def step(self) -> str:
        """Name of the training step."""
        keys = self.cell.identity.cell_keys
        pipeline = f" pp {keys['pp']} x {keys['num_microbatches']}" if keys["pp"] > 1 else ""
        return f"tp {keys['tp']} mbs {keys['mbs']}{pipeline}"

    @property
    def line(self) -> tuple[str, str]:
        """The line of the chart with the row: the step, and the source of the prediction."""
        return self.step, source_name(self.compared)


def accuracy(content: Content, *, error_limit: float | None) -> ET.Element:
    """Return the section; where nothing was checked, it has the command that checks."""
    rows = [_Row(cell=cell, compared=row) for cell in content.checked for row in cell.rows]
    if not rows:
        command = measure_command(content, list(content.measured), "profile=check")
        missing = tag("pre", tag("code", command))
        lead = (
            "How far the sum of the parts is from a step of the whole model was not measured with these records. This "
            "measures it:"
        )
        return section("accuracy", "Predicted against measured", lead, missing)
    lead = (
        "Each row is a step of the whole model; each mark says how much more (right of zero) or less the sum of the "
        "measured parts predicts than the step took. Whiskers are the 95 % interval of the error."
        + (f" The band is the limit of ±{percent(error_limit)}." if error_limit is not None else "")
    )
    return section(
        "accuracy",
        "Predicted against measured",
        lead,
        _summary(rows),
        _legend(rows),
        tag("figure", _chart(rows, error_limit), class_="wide"),
        folded("Table of predictions", scrolled(_table(rows))),
    )


def _chart(rows: Sequence[_Row], error_limit: float | None) -> ET.Element:
    lines = list(dict.fromkeys(row.line for row in rows))
    errors = [_error(number, row) for number, row in enumerate(rows)]
    highest = max(abs(error.value) + (error.half_width or 0) for error in errors)
    reach = max(highest, error_limit or 0, 0.01)
    x = linear_scale(reach, lowest=-reach, start=_LEFT, stop=_WIDE - _RIGHT)
    elements = [_line(index, line, rows, x) for index, line in enumerate(lines)]
    title = "Signed relative error of predictions"
    return error_chart(title, elements, x=x, width=_WIDE, height=_ROW * len(lines) + 46, band=error_limit)


def _line(index: int, line: tuple[str, str], rows: Sequence[_Row], x: Scale) -> ET.Element:
    top = 12 + _ROW * (index + 0.5)
    step, source = line
    marks = [_mark(number, row, x, top) for number, row in enumerate(rows) if row.line == line]
    names = [
        tag("text", step, class_="tick end", x=_LEFT - 10, y=top),
        tag("text", source, class_="tick end", x=_LEFT - 10, y=top + 13),
    ]
    return tag("g", tag("title", ", ".join(line)), names, marks)


def _mark(number: int, row: _Row, x: Scale, top: float) -> ET.Element:
    top += _APART * (row.style - (len(COMPARED) - 1) / 2)
    error = _error(number, row)
    place = x.at(error.value)
    half = abs(x.at(error.half_width) - x.at(0)) if error.half_width is not None else 0
    whisker = f"M{place - half:.1f} {top}h{2 * half:.1f}" if half else None
    tooltip = f"{', '.join(row.line)}, {quantity_name(row.compared)}: {_signed(row)} {error.interval_text}"
    return tag(
        "g",
        tag("title", tooltip.rstrip()),
        tag("path", class_="whisker", d=whisker) if whisker else None,
        mark(row.style, place, top),
        class_=f"s{row.style}",
        data_formula=ERROR,
        data_interval_formula="error_half_width",
        **error.attributes(),
    )


def _error(number: int, row: _Row) -> Figure:
    error = row.compared.error
    return Figure(value=error, unit=Unit.ratio, of=f"prediction-{number}", half_width=row.compared.error_half_width)


def _table(rows: Sequence[_Row]) -> ET.Element:
    names = ("tp", "mbs", "pp", "microbatches", "profile", "quantity")
    heads = [tag("th", name, scope="col") for name in names]
    numbers = [
        tag("th", "predicted", scope="col", data_formula="predicted", data_interval_formula="predicted_half_width"),
        tag("th", "measured", scope="col", data_formula="measured", data_interval_formula="measured_half_width"),
        tag("th", "error", scope="col", data_formula=ERROR, data_interval_formula="error_half_width"),
    ]
    body = [_table_row(number, row) for number, row in enumerate(rows)]
    return tag("table", tag("thead", tag("tr", heads, numbers)), tag("tbody", body), class_="numbers")


def _table_row(number: int, row: _Row) -> ET.Element:
    compared, of, keys = row.compared, f"prediction-{number}", row.cell.identity.cell_keys
    cell = [str(keys[key]) for key in ("tp", "mbs", "pp", "num_microbatches")]
    error = _error(number, row)
    predicted = Figure(value=compared.predicted, unit=row.unit, of=of, half_width=compared.predicted_half_width)
    measured = Figure(value=compared.measured, unit=row.unit, of=of, half_width=compared.measured_half_width)
    return tag(
        "tr",
        [tag("th", text, scope="row") for text in (*cell, source_name(compared), quantity_name(compared))],
        figure_cell(predicted),
        figure_cell(measured),
        tag("td", f"{_signed(row)} ", tag("i", error.interval_text), **error.attributes(named=False)),
        data_of=of,
    )


def _signed(row: _Row) -> str:
    return f"{'+' if row.compared.error > 0 else ''}{percent(row.compared.error)}"


def _summary(rows: Sequence[_Row]) -> ET.Element:
    """Return a tile with the median and the largest error of each quantity."""
    by_quantity: dict[str, list[float]] = {}
    for row in rows:
        by_quantity.setdefault(quantity_name(row.compared), []).append(abs(row.compared.error))
    return tag("div", [_tile(quantity, errors) for quantity, errors in by_quantity.items()], class_="tiles")


def _tile(quantity: str, errors: Sequence[float]) -> ET.Element:
    def over_all(function: str, value: float) -> ET.Element:
        return tag(
            "span",
            readable(value, Unit.ratio),
            data_value=exact(value),
            data_formula=f"{function}(abs(relative_error))",
            data_of="predictions",
            data_quantity=quantity,
        )

    return tag(
        "div",
        tag("p", f"Error, {quantity}", class_="what"),
        tag("p", over_all("median", median(errors)), class_="value"),
        tag("p", "median; largest ", over_all("max", max(errors)), class_="note"),
        class_="tile",
    )


def _legend(rows: Sequence[_Row]) -> ET.Element:
    shown = {row.style: quantity_name(row.compared) for row in sorted(rows, key=lambda row: row.style)}
    items = [
        tag(
            "li",
            tag("svg", mark(style, 6, 6), class_=f"swatch s{style}", viewBox="0 0 12 12"),
            f" {quantity}",
        )
        for style, quantity in shown.items()
    ]
    return tag("ul", items, class_="legend")
