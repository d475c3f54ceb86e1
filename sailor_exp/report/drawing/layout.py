"""The elements of all sections: sections with headings, folded tables of figures, and figures in text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.figures import Figure, Formula, Quantity, exact, formula_of, name_of
from sailor_exp.report.drawing.markup import Child, tag


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table of cells."""

    label: str
    formula: Formula
    figures: Mapping[CellKey, Figure]


def section(name: str, title: str, lead: Child, *children: Child) -> ET.Element:
    """Return a section with its heading and its introduction."""
    return tag("section", tag("h2", title), tag("p", lead, class_="lead"), children, id=name)


def row_of_charts(title: str | None, *charts: ET.Element) -> list[ET.Element]:
    """Return charts beside each other, as far as they have room."""
    heading = [] if title is None else [tag("h3", title)]
    return [*heading, tag("div", charts, class_="charts")]


def folded(summary: str, *children: Child) -> ET.Element:
    """Return a fold: the summary, and the content that it opens."""
    return tag("details", tag("summary", summary), children)


def scrolled(table: ET.Element) -> ET.Element:
    """Return a table that scrolls by itself where it is wider than the page."""
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="table")


def columns_of(content: Content, quantities: Sequence[Quantity]) -> list[Column]:
    """Return a column for each quantity that any cell has."""
    columns = [
        Column(label=quantity.label, formula=formula_of(quantity), figures=content.figures(quantity))
        for quantity in quantities
    ]
    return [column for column in columns if column.figures]


def table_of_cells(caption: str, columns: Sequence[Column]) -> ET.Element:
    """Return a folded table with a line for each cell that has one of the figures."""
    keys = sorted({key for column in columns for key in column.figures})
    heads = [tag("th", column.label, scope="col", **column.formula.attributes()) for column in columns]
    head = tag("thead", tag("tr", tag("th", "tp", scope="col"), tag("th", "mbs", scope="col"), heads))
    lines = [
        tag(
            "tr",
            tag("th", str(key.tp), scope="row"),
            tag("th", str(key.mbs), scope="row"),
            [figure_cell(column.figures.get(key)) for column in columns],
            data_of=name_of(key),
        )
        for key in keys
    ]
    return folded(caption, scrolled(tag("table", head, tag("tbody", lines), class_="numbers")))


def figure_cell(figure: Figure | None) -> ET.Element:
    """Return the cell of a table with a figure and its interval; a dash where there is none. Its row names the cell."""
    if figure is None:
        return tag("td", "-", class_="absent")
    return tag("td", shown(figure), **figure.attributes(named=False))


def shown(figure: Figure) -> list[Child]:
    """Return a figure as text, with its interval."""
    if figure.half_width is None:
        return [figure.text]
    return [f"{figure.text} ", tag("i", figure.interval_text)]


def over_all(function: str, field: str, value: float, text: str) -> ET.Element:
    """Return a number over all cells: `count`, `sum`, `max` or `median` of one field."""
    return tag("span", text, data_value=exact(value), data_of="all", data_formula=f"{function}({field})")


def cell_name(key: CellKey) -> str:
    """Return the anchor of the record of a cell."""
    return f"record-{name_of(key)}"
