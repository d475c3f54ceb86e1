"""The page: one HTML file with its style and its charts, which loads nothing else."""

from importlib import resources
from xml.etree import ElementTree as ET

from sailor_exp.report import cell_concerns, machine_concerns
from sailor_exp.report.concern import Concern, Weight
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.markup import tag, written
from sailor_exp.report.sections.accuracy import accuracy
from sailor_exp.report.sections.head import concerns, grid, header, tiles
from sailor_exp.report.sections.memory import memory
from sailor_exp.report.sections.provenance import provenance, reading
from sailor_exp.report.sections.times import scaling, times

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Content policy: a browser loads nothing for the page, even if the page contains a request."""


def page(content: Content, *, error_limit: float | None = None) -> bytes:
    """Return the report as HTML in UTF-8; the same content gives the same bytes.

    error_limit: relative error above which a prediction is a concern; None for no limit.
    """
    sections = _sections(content, error_limit)
    body = tag("body", header(content), tiles(content), _contents(sections), tag("main", sections), reading())
    return f"<!DOCTYPE html>\n{written(tag('html', _head(content), body, lang='en'))}\n".encode()


def _sections(content: Content, error_limit: float | None) -> list[ET.Element]:
    sections = [grid(content), concerns(concerns_of(content, error_limit=error_limit))]
    if content.measured:
        measured = (times(content), scaling(content), memory(content))
        sections += [section for section in measured if section is not None]
        sections.append(accuracy(content, error_limit=error_limit))
    return [*sections, provenance(content)]


def _contents(sections: list[ET.Element]) -> ET.Element:
    links = [tag("a", section[0].text, href=f"#{section.get('id')}") for section in sections]
    return tag("nav", links, aria_label="sections")


def _head(content: Content) -> ET.Element:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{content.title}: what training a layer costs"),
        tag("style", resources.files("sailor_exp.report").joinpath("style.css").read_text()),
    )


def concerns_of(content: Content, *, error_limit: float | None) -> list[Concern]:
    """Return all concerns, the gravest first.

    error_limit: relative error above which a prediction is a concern; None for no limit.
    """
    unsorted = [concern for look in (*cell_concerns.LOOKS, *machine_concerns.LOOKS) for concern in look(content)]
    unsorted += cell_concerns.wrong_predictions(content, error_limit)
    return sorted(unsorted, key=lambda concern: list(Weight).index(concern.weight))
