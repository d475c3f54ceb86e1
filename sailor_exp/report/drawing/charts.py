"""Charts of figures, as SVG. Sizes are in pixels of a chart as wide as a column of the page.

Colours and line styles are classes of the style sheet, for light and for dark. Every mark has a tooltip, and its number
as an attribute.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.etree import ElementTree as ET

from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.report.drawing.figures import Figure, Formula, Unit, highest, readable
from sailor_exp.report.drawing.markup import tag
from sailor_exp.report.drawing.scales import LogScale, Scale, linear_scale, log_scale, microbatch_scale, spread_out

WIDTH, HEIGHT = 360, 216
STYLES = 8
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 40, 12, 34
_LABEL_GAP = 12.0
_DODGE = 3.0
_NARROW = 14.0
_MANY = 12
_MARK = 7.0
_VISIBLE = 0.05
_LOWEST = 0.1


@dataclass(frozen=True, kw_only=True)
class Line:
    """Figures of one tensor parallel degree by microbatch; `style` is the number of its colour and mark."""

    label: str
    style: int
    points: Mapping[int, Figure]


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One part of stacked bars, by microbatch."""

    label: str
    style: str
    formula: Formula
    figures: Mapping[int, Figure]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A level that is drawn across a chart."""

    value: float
    label: str | None


def lines_by_tp(figures: Mapping[CellKey, Figure], tps: Sequence[int]) -> list[Line]:
    """Return a line for each tensor parallel degree that has figures; a degree keeps its style in every chart."""
    return [
        Line(label=f"tp {tp}", style=index % STYLES, points=points)
        for index, tp in enumerate(tps)
        if (points := {key.mbs: figure for key, figure in figures.items() if key.tp == tp})
    ]


def time_scale(figures: Sequence[Figure]) -> LogScale:
    """Return the scale that the charts of one row share, with room for every interval as far as it is above zero."""
    return log_scale([end for figure in figures for end in _ends(figure)], start=HEIGHT - _BOTTOM, stop=_TOP)


def ratio_scale(figures: Sequence[Figure]) -> Scale:
    """Return a scale from zero to at least one."""
    return linear_scale(max(1.0, highest(figures)), start=HEIGHT - _BOTTOM, stop=_TOP)


def bytes_scale(largest: float) -> Scale:
    """Return a scale from zero, with ticks at powers of two."""
    return linear_scale(largest, start=HEIGHT - _BOTTOM, stop=_TOP, base=2)


def line_chart(
    title: str, lines: Sequence[Line], *, formula: Formula, microbatches: Sequence[int], y: Scale, limit: Limit | None
) -> ET.Element:
    """Return a chart of lines over the microbatch, with the interval of every point."""
    x = microbatch_scale(microbatches, start=_LEFT + 14, stop=WIDTH - _RIGHT - 10, least_gap=24)
    unit = next(iter(lines[0].points.values())).unit
    return _chart(
        title,
        _y_axis(y, unit),
        _x_axis({tick: x.at(tick) for tick in x.ticks}),
        _limit(limit, y, right=WIDTH - _RIGHT),
        [_line(line, x, y, (index - (len(lines) - 1) / 2) * _DODGE) for index, line in enumerate(lines)],
        _end_labels(lines, y),
        formula=formula,
    )


def stacked_bars(
    title: str,
    bars: Sequence[Bars],
    *,
    microbatches: Sequence[int],
    y: Scale,
    limit: Limit | None,
    peaks: Bars | None,
    without: Mapping[int, str],
) -> ET.Element:
    """Return a chart of stacked bars over the microbatch.

    peaks: levels that are marked across the bars. without: microbatches that have no bar, with the reason.
    """
    slot = (WIDTH - _LEFT - 8) / len(microbatches)
    places = {mbs: _LEFT + slot * (index + 0.5) for index, mbs in enumerate(microbatches)}
    width = min(slot * 0.72, 46)
    every = -(-24 // slot)
    shown = {mbs: place for index, (mbs, place) in enumerate(places.items()) if index % every == 0}
    return _chart(
        title,
        _y_axis(y, Unit.bytes),
        _x_axis(shown),
        [_reason(places, run, slot, y, without[run[0]]) for run in _runs(microbatches, without)],
        _stacks(bars, places, width, y),
        None if peaks is None else _peaks(peaks, places, width, y),
        _limit(limit, y, right=WIDTH - 8),
        formula=None,
    )


def error_chart(
    title: str, rows: Sequence[ET.Element], *, x: Scale, width: float, height: float, band: float | None
) -> ET.Element:
    """Return a chart of signed errors, one row each, with a line at zero, and a band around it for a limit."""
    bottom = height - 30
    ticks = [
        (
            tag(
                "line", class_="zero" if tick == 0 else "rule", x1=_px(x.at(tick)), x2=_px(x.at(tick)), y1=8, y2=bottom
            ),
            _text(f"{100 * tick:+.0f} %" if tick else "0", x.at(tick), bottom + 14, "tick middle"),
        )
        for tick in x.ticks
    ]
    shade = (
        tag("rect", class_="band", x=_px(x.at(-band)), y=8, width=_px(x.at(band) - x.at(-band)), height=_px(bottom - 8))
        if band is not None
        else None
    )
    return tag(
        "svg",
        shade,
        ticks,
        rows,
        class_="chart wide",
        viewBox=f"0 0 {_px(width)} {_px(height)}",
        role="img",
        aria_label=title,
    )


def swatch(style: str) -> ET.Element:
    """Return the sample of a colour for a legend."""
    box = tag("rect", class_=f"fill-{style}", x=0.5, y=0.5, width=11, height=11, rx=2)
    return tag("svg", box, class_="swatch", viewBox="0 0 12 12", aria_hidden="true")


def mark(style: int, x: float, y: float, size: float = 1.0) -> ET.Element:
    """Return the mark of a style. Successive styles have different outlines, so a reader needs no colour."""
    outline = _OUTLINES[style % len(_OUTLINES)]
    if outline is None:
        return tag("circle", class_="mark", cx=_px(x), cy=_px(y), r=_px(4 * size))
    corners = " ".join(f"{_px(x + size * right)} {_px(y + size * down)}" for right, down in outline)
    return tag("path", class_="mark", d=f"M{corners}z")


def _chart(title: str, *children: object, formula: Formula | None) -> ET.Element:
    svg = tag(
        "svg",
        children,  # type: ignore[arg-type]  # nested sequences of elements
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=title,
        **(formula.attributes() if formula else {}),
    )
    return tag("figure", tag("figcaption", title), svg)


def _y_axis(y: Scale, unit: Unit) -> list[ET.Element]:
    elements = []
    for tick in y.ticks:
        place = y.at(tick)
        elements.append(tag("line", class_="rule", x1=_LEFT, x2=WIDTH - 8, y1=_px(place), y2=_px(place)))
        elements.append(_text(_tick_text(tick, unit), _LEFT - 6, place + 3.5, "tick end"))
    return elements


def _x_axis(places: Mapping[float, float] | Mapping[int, float]) -> list[ET.Element]:
    bottom = HEIGHT - _BOTTOM
    ticks = [_text(f"{value:.0f}", place, bottom + 14, "tick middle") for value, place in places.items()]
    line = tag("line", class_="axis", x1=_LEFT, x2=WIDTH - 8, y1=bottom, y2=bottom)
    return [line, *ticks, _text("microbatch size", (_LEFT + WIDTH - 8) / 2, HEIGHT - 5, "tick middle")]


def _tick_text(tick: float, unit: Unit) -> str:
    if tick == 0:
        return "0"
    if unit is Unit.ratio:
        return f"{100 * tick:.0f} %"
    number, _, suffix = readable(tick, unit).partition("\N{NO-BREAK SPACE}")
    return f"{float(number):g} {suffix}"


def _line(line: Line, x: Scale, y: Scale, dodge: float) -> ET.Element:
    places = {mbs: (x.at(mbs) + dodge, y.at(figure.value)) for mbs, figure in sorted(line.points.items())}
    path = " ".join(f"{_px(left)},{_px(top)}" for left, top in places.values())
    size = 1.0 if len(places) <= _MANY else 0.7
    marks = [
        tag(
            "g",
            tag("title", f"{line.label}, mbs {mbs}: {line.points[mbs].text} {line.points[mbs].interval_text}".rstrip()),
            _whisker(line.points[mbs], place[0], y, size),
            mark(line.style, *place, size),
            **line.points[mbs].attributes(interval=False),
        )
        for mbs, place in places.items()
    ]
    return tag("g", tag("polyline", class_="line", points=path), marks, class_=f"s{line.style}")


def _ends(figure: Figure) -> tuple[float, float]:
    """Return both ends of the interval, the lower one far enough from zero for a logarithmic axis."""
    half_width = figure.half_width or 0
    return figure.value * max(1 - half_width, _LOWEST), figure.value * (1 + half_width)


def _whisker(figure: Figure, x: float, y: Scale, size: float) -> ET.Element | None:
    """Return the interval of a point; None where it has none, or where the mark hides it."""
    if figure.half_width is None:
        return None
    low, high = (y.at(end) for end in _ends(figure))
    if low - high < _MARK * size:
        return None
    path = f"M{_px(x)} {_px(low)}V{_px(high)}M{_px(x - 2.5)} {_px(low)}h5M{_px(x - 2.5)} {_px(high)}h5"
    return tag("path", class_="whisker", d=path)


def _end_labels(lines: Sequence[Line], y: Scale) -> list[ET.Element]:
    last_microbatches = [max(line.points) for line in lines]
    ends = [y.at(line.points[mbs].value) for line, mbs in zip(lines, last_microbatches, strict=True)]
    tops = spread_out(ends, gap=_LABEL_GAP, lowest=_TOP, highest=HEIGHT - _BOTTOM - 2)
    return [
        _text(line.label, WIDTH - _RIGHT + 4, top + 3.5, f"label s{line.style}")
        for line, top in zip(lines, tops, strict=True)
    ]


def _limit(limit: Limit | None, y: Scale, *, right: float) -> list[ET.Element] | None:
    if limit is None:
        return None
    place = y.at(limit.value)
    line = tag("line", class_="limit", x1=_LEFT, x2=_px(right), y1=_px(place), y2=_px(place))
    return [line, *([] if limit.label is None else [_text(limit.label, _LEFT + 4, place - 4, "tick")])]


def _stacks(bars: Sequence[Bars], places: Mapping[int, float], width: float, y: Scale) -> list[ET.Element]:
    sums = dict.fromkeys(places, 0.0)
    groups = []
    for part in bars:
        rects = []
        for mbs, figure in part.figures.items():
            below, sums[mbs] = sums[mbs], sums[mbs] + figure.value
            top, bottom = y.at(sums[mbs]), y.at(below)
            box = {"x": places[mbs] - width / 2, "y": top, "width": width, "height": max(bottom - top, 0)}
            if box["height"] < _VISIBLE:
                continue
            title = tag("title", f"mbs {mbs}, {part.label}: {figure.text}")
            rects.append(tag("rect", title, **{name: _px(size) for name, size in box.items()}, **figure.attributes()))
        groups.append(tag("g", rects, class_=f"fill-{part.style}", **part.formula.attributes()))
    return groups


def _peaks(peaks: Bars, places: Mapping[int, float], width: float, y: Scale) -> ET.Element:
    marks = []
    for mbs, figure in peaks.figures.items():
        place, left = y.at(figure.value), places[mbs] - width / 2 - 3
        title = tag("title", f"mbs {mbs}, {peaks.label}: {figure.text}")
        marks.append(
            tag("path", title, class_="peak", d=f"M{_px(left)} {_px(place)}h{_px(width + 6)}", **figure.attributes())
        )
    return tag("g", marks, **peaks.formula.attributes())


def _runs(microbatches: Sequence[int], without: Mapping[int, str]) -> list[list[int]]:
    """Return the runs of neighbouring microbatches that have no bar for the same reason."""
    grouped = groupby(microbatches, key=without.get)
    return [list(run) for reason, run in grouped if reason is not None]


def _reason(places: Mapping[int, float], run: Sequence[int], slot: float, y: Scale, reason: str) -> ET.Element:
    left, right = places[run[0]] - slot * 0.42, places[run[-1]] + slot * 0.42
    top, bottom = y.at(y.ticks[-1]), y.at(0)
    turned = f"translate({_px((left + right) / 2)} {_px((top + bottom) / 2)}) rotate(-90)"
    return tag(
        "g",
        tag("title", reason),
        tag("rect", class_="without", x=_px(left), y=_px(top), width=_px(right - left), height=_px(bottom - top), rx=3),
        tag("text", reason, class_="tick middle", y=3.5, transform=turned) if right - left >= _NARROW else None,
    )


def _text(text: str, x: float, y: float, class_: str) -> ET.Element:
    return tag("text", text, class_=class_, x=_px(x), y=_px(y))


def _px(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")


_OUTLINES: Sequence[Sequence[tuple[float, float]] | None] = (
    None,
    ((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)),
    ((0, -4.8), (4.6, 3.2), (-4.6, 3.2)),
    ((0, -5), (4.8, 0), (0, 5), (-4.8, 0)),
    ((0, 4.8), (4.6, -3.2), (-4.6, -3.2)),
)
"""Corners around the middle of a mark; None is a circle."""
