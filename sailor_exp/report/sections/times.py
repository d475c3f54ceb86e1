"""Time against the microbatch size, and its scaling with tensor parallelism."""

from collections.abc import Mapping
from math import hypot
from xml.etree import ElementTree as ET

from sailor_exp.config.architecture import Kind
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.charts import Limit, line_chart, lines_by_tp, ratio_scale, time_scale
from sailor_exp.report.drawing.figures import Figure, Formula, Quantity, Unit, formula_of, name_of, seconds
from sailor_exp.report.drawing.layout import Column, columns_of, row_of_charts, section, table_of_cells
from sailor_exp.report.sections.head import STEP, STEP_PER_SAMPLE

PHASES = ("forward", "backward", "update")
_OVERHEAD = "overhead"
KIND_NAMES = {
    Kind.embedding: "Embedding",
    Kind.layer: "Transformer layer",
    Kind.layer_window: "Transformer layer, window attention",
    Kind.final_norm: "Final norm",
    Kind.head: "Head and loss",
}


def times(content: Content) -> ET.Element:
    """Return the section with the time of the step, and of every phase of every kind of part."""
    lead = (
        "Mean of the steps without the lowest and highest tenth, each step being that of its slowest rank. Whiskers "
        "are 95 % intervals, drawn down to a tenth of the value at most. Both axes are logarithmic: a doubling is the "
        "same distance everywhere, and charts in a row share their scale."
    )
    rows = [chart for kind in content.kinds for chart in _row(content, kind)]
    quantities = [
        STEP,
        STEP_PER_SAMPLE,
        *(_phase(kind, phase) for kind in content.kinds for phase in (*PHASES, _OVERHEAD)),
    ]
    table = table_of_cells("Table of these times", columns_of(content, quantities))
    return section(
        "time",
        "Time",
        lead,
        row_of_charts(None, *_charts(content, [STEP]), *_charts(content, [STEP_PER_SAMPLE])),
        rows,
        table,
    )


def scaling(content: Content) -> ET.Element | None:
    """Return the section with the scaling efficiency; None where no microbatch was measured with two degrees."""
    quantities = [STEP, *(_phase(kind, phase) for kind in _layers(content) for phase in ("forward", "backward"))]
    columns = [
        Column(label=quantity.label, formula=_efficiency(quantity), figures=_efficiencies(content, quantity))
        for quantity in quantities
    ]
    columns = [column for column in columns if column.figures]
    if not columns:
        return None
    lead = (
        "Time with the fewest ranks, over the time with tp ranks times as many more: 100 % is a perfect division, and "
        "what is missing went to collectives, to what every rank does alike, and to kernels too small to fill a "
        f"device. {_base_sentence(content)}"
    )
    y = ratio_scale([figure for column in columns for figure in column.figures.values()])
    charts = [
        line_chart(
            _capital(column.label),
            lines_by_tp(column.figures, content.tps),
            formula=column.formula,
            microbatches=content.measured_microbatches,
            y=y,
            limit=Limit(value=1.0, label=None),
        )
        for column in columns
    ]
    return section(
        "scaling",
        "Scaling with tp",
        lead,
        row_of_charts(None, *charts),
        table_of_cells("Table of these ratios", columns),
    )


def _row(content: Content, kind: str) -> list[ET.Element]:
    return row_of_charts(_name(content, kind), *_charts(content, [_phase(kind, phase) for phase in PHASES], short=True))


def _charts(content: Content, quantities: list[Quantity], *, short: bool = False) -> list[ET.Element]:
    positive = {
        quantity.label: {key: figure for key, figure in content.figures(quantity).items() if figure.value > 0}
        for quantity in quantities
    }
    all_figures = [figure for figures in positive.values() for figure in figures.values()]
    if not all_figures:
        return []
    y = time_scale(all_figures)
    return [
        line_chart(
            quantity.label.rpartition(", ")[2].capitalize() if short else _capital(quantity.label),
            lines_by_tp(positive[quantity.label], content.tps),
            formula=formula_of(quantity),
            microbatches=content.measured_microbatches,
            y=y,
            limit=None,
        )
        for quantity in quantities
        if positive[quantity.label]
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _phase(kind: str, phase: str) -> Quantity:
    return seconds(f"{KIND_NAMES[Kind(kind)].lower()}, {phase}", f"statistics.kinds.{kind}.{phase}")


def _name(content: Content, kind: str) -> str:
    layers = next(iter(content.measured.values())).layers
    count = sum(1 for layer_kind in layers.values() if layer_kind == kind)
    return KIND_NAMES[Kind(kind)] + (f" (the model has {count})" if count > 1 else "")


def _layers(content: Content) -> list[str]:
    return [kind for kind in content.kinds if kind in {Kind.layer, Kind.layer_window}]


def _efficiency(quantity: Quantity) -> Formula:
    (_, field), *_ = quantity.terms
    interval = quantity.interval
    return Formula(
        value=f"base:identity.tp * base:{field} / (identity.tp * {field})",
        interval=f"hypot(base:{interval}, {interval})",
    )


def _efficiencies(content: Content, quantity: Quantity) -> dict[CellKey, Figure]:
    figures = content.figures(quantity)
    bases = _bases(figures)
    return {
        key: _ratio(key, figure, bases[key.mbs], figures[bases[key.mbs]])
        for key, figure in figures.items()
        if key != bases[key.mbs] and figure.value > 0
    }


def _ratio(key: CellKey, figure: Figure, base_key: CellKey, base: Figure) -> Figure:
    known = figure.half_width is not None and base.half_width is not None
    return Figure(
        value=base_key.tp * base.value / (key.tp * figure.value),
        unit=Unit.ratio,
        of=name_of(key),
        base=name_of(base_key),
        half_width=hypot(base.half_width or 0, figure.half_width or 0) if known else None,
    )


def _bases(figures: Mapping[CellKey, Figure]) -> dict[int, CellKey]:
    """Return the cell with the fewest ranks, by microbatch."""
    bases: dict[int, CellKey] = {}
    for key in sorted(figures):
        bases.setdefault(key.mbs, key)
    return bases


def _base_sentence(content: Content) -> str:
    bases = _bases(content.figures(STEP))
    phrases: list[str] = []
    for tp in sorted({key.tp for key in bases.values()}):
        microbatches = ", ".join(str(mbs) for mbs, key in sorted(bases.items()) if key.tp == tp)
        phrases.append(f"tp {tp} at mbs {microbatches}" if phrases else f"tp {tp}")
    return f"Compared with {' and '.join(phrases)}."
