"""The head of the page: what was measured, the main numbers, the grid of cells with their outcomes, the concerns."""

import statistics
from dataclasses import replace
from xml.etree import ElementTree as ET

from sailor_exp.exporters.sailor.grid import word
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.record import Outcome
from sailor_exp.report.concern import Concern, Weight
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.figures import Figure, Unit, percent, readable, seconds
from sailor_exp.report.drawing.layout import cell_name, folded, over_all, scrolled, section, shown
from sailor_exp.report.drawing.markup import Child, tag

STEP = seconds("step of the chain", "statistics.step")
STEP_PER_SAMPLE = replace(STEP, label="step of the chain, per sample", per_sample=True)
_WIDE = "◐"

_SYMBOLS = {
    Outcome.ok: "●",
    Outcome.oom: "▲",
    Outcome.skipped: "△",
    Outcome.infeasible: "∅",
    Outcome.failed: "✕",
    Outcome.timeout: "◷",
    None: "·",
}

_MOST_COLUMNS = 8
_MEANINGS = {
    Outcome.ok: "measured",
    Outcome.oom: "out of memory",
    Outcome.skipped: "not tried: a smaller microbatch ran out of memory",
    Outcome.infeasible: "the model cannot be split so",
    Outcome.failed: "failed",
    Outcome.timeout: "a rank was silent for too long",
    None: "not measured yet",
}


def header(content: Content) -> ET.Element:
    """Return the title, and one line with the precision, optimizer, attention, devices and dates."""
    config = content.config
    facts = [
        config.precision.value,
        config.optimizer.value,
        f"{config.attention.value} attention",
        *dict.fromkeys(device.name for origin in content.provenance.values() for device in origin.devices),
        _when(content),
    ]
    return tag(
        "header",
        tag("p", "sailor-exp · what training a layer costs", class_="brand"),
        tag("h1", tag("span", config.model.name), tag("span", " on ", class_="muted"), tag("span", config.gpu.name)),
        tag("ul", [tag("li", fact) for fact in facts if fact], class_="facts"),
    )


def tiles(content: Content) -> ET.Element | None:
    """Return the main numbers of the sweep; None where no cell has numbers."""
    cells = list(content.measured.values())
    if not cells:
        return None
    size = len(content.tps) * len(content.microbatches)
    converged = sum(cell.statistics.converged for cell in cells)
    steps = sum(cell.statistics.steps for cell in cells)
    elements = [
        _tile(
            "Cells with numbers",
            over_all("count", "statistics.steps", len(cells), str(len(cells))),
            f"of {size} in the grid",
        ),
        _tile(
            "Converged",
            over_all("count", "statistics.converged", converged, str(converged)),
            f"of {len(cells)}, to {_targets(content)}",
        ),
        _tile("Steps timed", over_all("sum", "statistics.steps", steps, f"{steps:,}"), "after the warm-up"),
        _interval_tile(content),
        _peak_tile(content),
    ]
    return tag("div", elements, class_="tiles")


def grid(content: Content) -> ET.Element:
    """Return the grid: tensor parallel degrees by microbatches, each cell with its outcome and the time of its step."""
    figures = content.figures(STEP)
    heads, names = [f"mbs {mbs}" for mbs in content.microbatches], [f"tp {tp}" for tp in content.tps]
    rows = [[CellKey(tp, mbs) for mbs in content.microbatches] for tp in content.tps]
    if len(content.microbatches) > _MOST_COLUMNS:
        heads, names, rows = names, heads, [list(row) for row in zip(*rows, strict=True)]
    head = tag("tr", tag("td"), [tag("th", name, scope="col") for name in heads])
    body = [
        tag("tr", tag("th", name, scope="row"), [_cell(content, key, figures) for key in row])
        for name, row in zip(names, rows, strict=True)
    ]
    table = tag(
        "table",
        tag("thead", head),
        tag("tbody", body),
        class_="grid",
        data_formula=STEP.formula,
        data_interval_formula=STEP.interval,
    )
    lead = (
        "Tensor parallel degree by microbatch size. The time is that of one step of the measured chain: embedding, "
        "one or two transformer layers and head, forward, backward and update, on the slowest rank. ± is half of its "
        "95 % interval. A cell has converged where that of the calibrated step, each divided by the machine's speed at "
        "that moment, is within the target."
    )
    return section("grid", "The grid", lead, scrolled(table), _legend(content))


def concerns(sorted_concerns: list[Concern]) -> ET.Element:
    """Return the section with all concerns and their remedies."""
    if not sorted_concerns:
        return section("care", "Nothing to be careful with", "Every cell of the grid has a result that converged.")
    lead = "What limits the use of these numbers, the gravest first, each with what mends it."
    return section("care", "To be careful with", lead, [_concern(concern) for concern in sorted_concerns])


def _concern(concern: Concern) -> ET.Element:
    label = tag("span", _WEIGHTS[concern.weight], class_=f"weight {concern.weight}")
    return tag(
        "details",
        tag("summary", label, tag("span", concern.title)),
        [tag("p", line, class_="detail") for line in concern.details[:_SHOWN]],
        folded(f"{len(concern.details) - _SHOWN} more", [tag("p", line) for line in concern.details[_SHOWN:]])
        if len(concern.details) > _SHOWN
        else None,
        tag("p", _with_code(concern.remedy)),
        tag("pre", tag("code", concern.command)) if concern.command else None,
        class_="concern",
        open="open" if concern.weight is not Weight.note else None,
    )


def _with_code(text: str) -> list[Child]:
    """Return the text, with its parts between backticks as code."""
    return [tag("code", part) if index % 2 else part for index, part in enumerate(text.split("`"))]


_SHOWN = 4
_WEIGHTS = {Weight.missing: "missing", Weight.doubtful: "doubtful", Weight.note: "note"}


def _cell(content: Content, key: CellKey, figures: dict[CellKey, Figure]) -> ET.Element:
    outcome = content.outcome(key)
    symbol = tag("span", _SYMBOLS[outcome], class_="symbol", aria_hidden="true")
    figure = figures.get(key)
    if figure is None:
        text = f"{word(outcome)}*" if key in content.grid.foreign else word(outcome)
        title = _MEANINGS[outcome]
        return tag("td", symbol, tag("span", text, class_="word"), class_=f"cell {word(outcome)}", title=title)
    link = tag("a", shown(figure), href=f"#{cell_name(key)}", **figure.attributes())
    if content.measured[key].statistics.converged:
        return tag("td", symbol, link, class_=f"cell {word(outcome)}")
    symbol = tag("span", _WIDE, class_="symbol", role="img", aria_label="interval wider than its target")
    return tag("td", symbol, link, class_=f"cell {word(outcome)} wide")


def _legend(content: Content) -> ET.Element:
    doubtful = {key for key, cell in content.measured.items() if not cell.statistics.converged}
    outcomes = {content.outcome(key) for key in content.cells() if key not in doubtful}
    items: list[Child] = [
        tag("li", tag("span", _SYMBOLS[outcome], class_=f"symbol {word(outcome)}"), f" {_MEANINGS[outcome]}")
        for outcome in _SYMBOLS
        if outcome in outcomes
    ]
    if doubtful:
        items.append(tag("li", tag("span", _WIDE, class_="symbol wide"), " measured, not converged to its target"))
    if content.grid.foreign:
        items.append(tag("li", "* from a profile file of another tool, without spread: not in the charts"))
    return tag("ul", items, class_="legend")


def _tile(label: str, value: Child, note: Child) -> ET.Element:
    return tag(
        "div", tag("p", label, class_="what"), tag("p", value, class_="value"), tag("p", note, class_="note"),
        class_="tile",
    )  # fmt: skip


def _interval_tile(content: Content) -> ET.Element | None:
    widths = [cell.statistics.step.relative_half_width for cell in content.measured.values()]
    known = [width for width in widths if width is not None]
    if not known:
        return None
    median = statistics.median(known)
    number = over_all("median", "statistics.step.relative_half_width", median, f"±{percent(median)}")
    return _tile("Interval of a step", number, "95 %, median over the cells")


def _peak_tile(content: Content) -> ET.Element:
    peak = max(cell.memory.peak_bytes for cell in content.measured.values())
    limit = max(cell.gpu_bytes for cell in content.measured.values())
    number = over_all("max", "memory.peak_bytes", peak, readable(peak, Unit.bytes))
    return _tile("Highest peak of a rank", number, f"{percent(peak / limit)} of {readable(limit, Unit.bytes)}")


def _targets(content: Content) -> str:
    targets = sorted({cell.statistics.target for cell in content.measured.values()})
    return " or ".join(f"±{percent(target)}" for target in targets)


def _when(content: Content) -> str:
    times = sorted(facts.finished_at for facts in content.provenance.values())
    if not times:
        return ""
    first, last = (time[:16].replace("T", " ") for time in (times[0], times[-1]))
    return f"{first} UTC" if first == last else f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"
