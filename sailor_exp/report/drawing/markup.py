"""HTML and SVG as trees, whose output escapes the text of names and messages."""

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

Child = ET.Element | str | None | Iterable["Child"]
Attribute = str | int | float | None

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def tag(name: str, /, *children: Child, **attributes: Attribute) -> ET.Element:
    """Return an element. The attribute `class_` becomes `class`, `data_of` `data-of`; one of None is omitted."""
    element = ET.Element(
        name,
        {
            key.rstrip("_").replace("_", "-"): _printable(f"{value}")
            for key, value in attributes.items()
            if value is not None
        },
    )
    _append(element, children)
    return element


def written(element: ET.Element) -> str:
    """Return an element as HTML; text and attributes are escaped."""
    return ET.tostring(element, encoding="unicode", method="html")


def _append(element: ET.Element, children: Iterable[Child]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, ET.Element):
            element.append(child)
        elif isinstance(child, str):
            _append_text(element, _printable(child))
        else:
            _append(element, child)


def _append_text(element: ET.Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def _printable(text: str) -> str:
    """Replace the characters that HTML forbids; a truncated log may contain them."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
