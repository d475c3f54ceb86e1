"""Reads a report back: its tree, its numbers, and what each should be by the records' own JSON."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from math import hypot
from pathlib import Path
from statistics import median
from xml.etree import ElementTree as ET

from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.sailor.accuracy import CheckedCell
from sailor_exp.profiles.check.comparison import PEAK, Comparison
from sailor_exp.profiles.identity import identity_of
from sailor_exp.report.content import content_of
from sailor_exp.report.page import page
from tests.build.cells import cell, gather_config

_VOID = {"meta"}
_FUNCTIONS = {"hypot": hypot, "count": lambda values: sum(map(bool, values)), "sum": sum, "max": max, "median": median}


def report(
    profile_dir: Path, *overrides: str, checked: tuple[CheckedCell, ...] = (), error_limit: float | None = None
) -> bytes:
    """The page about the records of a directory."""
    content = content_of(Inputs(gather_config(f"profile_dir={profile_dir}", *overrides)))
    return page(replace(content, checked=checked), error_limit=error_limit)


def prediction(quantity: str, *, tp: int = 1, mbs: int = 1, error: float = 0.02) -> CheckedCell:
    """A cell of which one quantity is predicted."""
    in_bytes = quantity == PEAK
    measured = 2.0e7 if in_bytes else 0.04
    row = Comparison(
        source="interleaved",
        record=None,
        quantity=quantity,
        predicted=measured * (1 + error),
        predicted_half_width=0.02,
        measured=measured,
        measured_half_width=None if in_bytes else 0.01,
        error=error,
        error_half_width=None if in_bytes else 0.015,
    )
    identity = identity_of(cell("profile=check", f"tp={tp}", f"mbs={mbs}"))
    return CheckedCell(identity=identity, check_record="check.json", rows=(row,))


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.builder = ET.TreeBuilder()

    def handle_starttag(self, tag, attrs):
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in _VOID:
            self.builder.end(tag)

    def handle_endtag(self, tag):
        self.builder.end(tag)

    def handle_data(self, data):
        self.builder.data(data)


def parsed(html: bytes) -> ET.Element:
    """The page as a tree; fails where a tag is not closed."""
    tree = _Tree()
    tree.feed(html.decode().removeprefix("<!DOCTYPE html>\n").strip())
    return tree.builder.close()


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number of the page, with the formula and the name of what it is of that hold there."""

    value: float
    interval: float | None
    formula: str
    interval_formula: str | None
    of: str
    base: str | None
    text: str


def numbers(root: ET.Element) -> Iterator[Number]:
    """Every number of the page. A column's formula stands on its head."""
    parents = {child: parent for parent in root.iter() for child in parent}
    for element in root.iter():
        if "data-value" not in element.attrib:
            continue
        around = list(_around(element, parents))
        formula, interval_formula = _formulas(element, around)
        interval = element.get("data-interval")
        yield Number(
            value=float(element.attrib["data-value"]),
            interval=None if interval is None else float(interval),
            formula=formula,
            interval_formula=interval_formula,
            of=next(one.attrib["data-of"] for one in around if "data-of" in one.attrib),
            base=element.get("data-base"),
            text=" ".join("".join(element.itertext()).split()),
        )


def _formulas(element: ET.Element, around: list[ET.Element]) -> tuple[str, str | None]:
    if element.tag == "td" and "data-formula" not in element.attrib and "cell" not in element.get("class", ""):
        row, table = around[1], next(one for one in around if one.tag == "table")
        head = list(table.find("thead/tr"))[list(row).index(element)]
        return head.attrib["data-formula"], head.get("data-interval-formula")
    holder = next(one for one in around if "data-formula" in one.attrib)
    return holder.attrib["data-formula"], holder.get("data-interval-formula")


def _around(element: ET.Element, parents: Mapping[ET.Element, ET.Element]) -> Iterator[ET.Element]:
    while element is not None:
        yield element
        element = parents.get(element)


def contents(profile_dir: Path) -> dict[str, dict]:
    """The JSON of every record of a directory, by the name that the page gives its cell."""
    found = [json.loads(path.read_text()) for path in sorted((profile_dir / "records").glob("*.json"))]
    return {f"tp{one['identity']['tp']}-mbs{one['identity']['mbs']}": one for one in found}


def computed(formula: str, of: Mapping, base: Mapping | None = None) -> float:
    """What a formula gives, field by field out of the records' JSON."""

    def value(match: re.Match[str]) -> str:
        return match[0] if match[0] in _FUNCTIONS else repr(_field(base if match[1] else of, match[2]))

    return eval(re.sub(r"(base:)?\b([a-z_]+(?:\.[a-z_0-9]+)*)", value, formula), {"__builtins__": {}}, _FUNCTIONS)  # noqa: S307


def computed_over_all(formula: str, all_contents: Mapping[str, Mapping]) -> float:
    """`max(memory.peak_bytes)` over the records that have it."""
    function, field = re.fullmatch(r"(\w+)\((.*)\)", formula).groups()
    values = [_field(one, field) for one in all_contents.values() if one["measurement"] is not None]
    return _FUNCTIONS[function]([value for value in values if value is not None])


def _field(content: Mapping, field: str):
    """`identity.tp` of the record, or a field of its measurement."""
    content = content if field.partition(".")[0] in content else content["measurement"]
    for name in field.split("."):
        content = content[name]
    return content
