"""Predicted against measured: how far the sum of the parts is from a real step."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from xml.etree import ElementTree as ET

from sailor_exp.profiles.check.comparison import PredictedQuantity, PredictionRow
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
class _Step:
    """What the rows of one training step have in common."""

    tp: int
    mbs: int
    pp: int
    num_microbatches: int
    source: str

    def __str__(self) -> str:
        pipeline = f" pp {self.pp} x {self.num_microbatches}" if self.pp > 1 else ""
        return f"tp {self.tp} mbs {self.mbs}{pipeline}"

    @property
    def told(self) -> str:
        return f"{self}, {self.source}"


def accuracy(content: Content, *, error_limit: float | None) -> ET.Element:
    """Return the section; where nothing was checked, the command that does."""
    rows = content.predictions
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


def _chart(rows: Sequence[PredictionRow], error_limit: float | None) -> ET.Element:
    steps = list(dict.fromkeys(_step(row) for row in rows))
    ends = [_error(index, row) for index, row in enumerate(rows)]
    highest = max(abs(error.value) + (error.half_width or 0) for error in ends)
    reach = max(highest, error_limit or 0, 0.01)
    x = linear_scale(reach, lowest=-reach, start=_LEFT, stop=_WIDE - _RIGHT)
    lines = [_line(index, step, rows, x) for index, step in enumerate(steps)]
    title = "Signed relative error of predictions"
    return error_chart(title, lines, x=x, width=_WIDE, height=_ROW * len(steps) + 46, band=error_limit)


def _line(index: int, step: _Step, rows: Sequence[PredictionRow], x: Scale) -> ET.Element:
    top = 12 + _ROW * (index + 0.5)
    marks = [
        _mark(number, row, x, top)
        for number, row in enumerate(rows)
        if _step(row) == step
    ]  # fmt: skip
    names = [
        tag("text", str(step), class_="tick end", x=_LEFT - 10, y=top),
        tag("text", step.source, class_="tick end", x=_LEFT - 10, y=top + 13),
    ]
    return tag("g", tag("title", step.told), names, marks)


def _mark(number: int, row: PredictionRow, x: Scale, top: float) -> ET.Element:
    style = list(PredictedQuantity).index(row.quantity)
    top += _APART * (style - (len(PredictedQuantity) - 1) / 2)
    error = _error(number, row)
    place = x.at(error.value)
    half = abs(x.at(error.half_width) - x.at(0)) if error.half_width is not None else 0
    whisker = f"M{place - half:.1f} {top}h{2 * half:.1f}" if half else None
    return tag(
        "g",
        tag("title", f"{_step(row).told}, {row.quantity}: {_signed(row)} {error.interval_text}".rstrip()),
        tag("path", class_="whisker", d=whisker) if whisker else None,
        mark(style, place, top),
        class_=f"s{style}",
        data_formula=ERROR,
        data_interval_formula="error_half_width",
        **error.attributes(),
    )


def _error(number: int, row: PredictionRow) -> Figure:
    of = f"prediction-{number}"
    return Figure(value=row.relative_error, unit=Unit.ratio, of=of, half_width=row.error_half_width)


def _table(rows: Sequence[PredictionRow]) -> ET.Element:
    names = ("tp", "mbs", "pp", "microbatches", "profile", "quantity")
    heads = [tag("th", name, scope="col") for name in names]
    numbers = [
        tag("th", "predicted", scope="col", data_formula="predicted", data_interval_formula="predicted_half_width"),
        tag("th", "measured", scope="col", data_formula="measured", data_interval_formula="measured_half_width"),
        tag("th", "error", scope="col", data_formula=ERROR, data_interval_formula="error_half_width"),
    ]
    body = [_table_row(number, row) for number, row in enumerate(rows)]
    return tag("table", tag("thead", tag("tr", heads, numbers)), tag("tbody", body), class_="numbers")


def _table_row(number: int, row: PredictionRow) -> ET.Element:
    unit = Unit.bytes if row.quantity is PredictedQuantity.peak_memory else Unit.seconds
    of = f"prediction-{number}"
    plain = (row.tp, row.mbs, row.pp, row.num_microbatches, row.source.value, row.quantity.value)
    error = _error(number, row)
    return tag(
        "tr",
        [tag("th", str(value), scope="row") for value in plain],
        figure_cell(Figure(value=row.predicted, unit=unit, of=of, half_width=row.predicted_half_width)),
        figure_cell(Figure(value=row.measured, unit=unit, of=of, half_width=row.measured_half_width)),
        tag("td", f"{_signed(row)} ", tag("i", error.interval_text), **error.attributes(named=False)),
        data_of=of,
    )


def _signed(row: PredictionRow) -> str:
    return f"{'+' if row.relative_error > 0 else ''}{percent(row.relative_error)}"


def _summary(rows: Sequence[PredictionRow]) -> ET.Element:
    """Median and largest error of each quantity."""
    tiles = []
    for quantity in dict.fromkeys(row.quantity for row in rows):
        errors = [abs(row.relative_error) for row in rows if row.quantity is quantity]
        attributes = {"data_of": "predictions", "data_quantity": quantity.value}
        middle = tag(
            "span",
            readable(median(errors), Unit.ratio),
            data_value=exact(median(errors)),
            data_formula="median(abs(relative_error))",
            **attributes,
        )
        most = tag(
            "span",
            readable(max(errors), Unit.ratio),
            data_value=exact(max(errors)),
            data_formula="max(abs(relative_error))",
            **attributes,
        )
        tiles.append(
            tag(
                "div",
                tag("p", f"Error, {quantity}", class_="what"),
                tag("p", middle, class_="value"),
                tag("p", "median; largest ", most, class_="note"),
                class_="tile",
            )
        )
    return tag("div", tiles, class_="tiles")


def _legend(rows: Sequence[PredictionRow]) -> ET.Element:
    shown = [quantity for quantity in PredictedQuantity if any(row.quantity is quantity for row in rows)]
    items = [
        tag(
            "li",
            tag(
                "svg",
                mark(list(PredictedQuantity).index(quantity), 6, 6),
                class_=f"swatch s{list(PredictedQuantity).index(quantity)}",
                viewBox="0 0 12 12",
            ),
            f" {quantity}",
        )
        for quantity in shown
    ]
    return tag("ul", items, class_="legend")


def _step(row: PredictionRow) -> _Step:
    return _Step(
        tp=row.tp, mbs=row.mbs, pp=row.pp, num_microbatches=row.num_microbatches, source=row.source.value
    )  # fmt: skip
