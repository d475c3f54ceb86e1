"""Memory of a rank: the parts that a step holds, and its peak, against the memory of the GPU."""

from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from sailor_exp.config.architecture import Kind
from sailor_exp.config.parameter_bytes import state_bytes
from sailor_exp.config.schema import Precision
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.record import Outcome
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.charts import Bars, Limit, bytes_scale, stacked_bars, swatch
from sailor_exp.report.drawing.figures import Figure, Formula, Quantity, Unit
from sailor_exp.report.drawing.layout import Column, columns_of, row_of_charts, section, table_of_cells
from sailor_exp.report.drawing.markup import Child, tag
from sailor_exp.report.sections.times import KIND_NAMES, PHASES
from sailor_exp.units import readable_bytes

PEAK = Quantity(label="measured peak", unit=Unit.bytes, terms=((1, "memory.peak_bytes"),))
_FAR = 3
"""Multiple of the highest bar up to which a chart shows the GPU's memory."""

_WHY = {
    Outcome.oom: "out of memory",
    Outcome.skipped: "skipped",
    Outcome.infeasible: "infeasible",
    Outcome.failed: "failed",
    Outcome.timeout: "timeout",
    None: "not measured",
}


def memory(content: Content) -> ET.Element:
    """Return the section with the memory of the measured chain, and of a whole model as the sum of its parts."""
    cell = next(iter(content.measured.values()))
    chain = _parts(content, Counter(part.kind for part in cell.samples.parts))
    whole = _parts(content, Counter(cell.layers.values()))
    lead = (
        "Of one rank. Parameters and activations are measured; gradients and optimizer states follow from the number "
        f"of parameters: {_state_sentence(content)}. "
    )
    return section(
        "memory",
        "Memory",
        lead,
        _legend(chain),
        _charts(content, chain, title="The measured chain", note=_chain_note(content), peaks=PEAK),
        _charts(content, whole, title="The whole model on one rank group: extrapolated, not measured",
                note=_whole_note(content), peaks=None),
        table_of_cells("Table of the chain's memory", columns_of(content, [*chain, PEAK, *_peaks(content)])),
        table_of_cells("Table of the whole model's memory, extrapolated", columns_of(content, whole)),
    )  # fmt: skip


def _parts(content: Content, counts: Mapping[str, int]) -> list[Quantity]:
    """Return the parts of the memory of a rank. counts: the number of parts of each kind."""
    states = state_bytes(content.config.precision, content.config.optimizer)
    kinds = [kind for kind in content.kinds if counts.get(kind)]

    def summed(label: str, factor: int, field: str) -> Quantity:
        terms = tuple((factor * counts[kind], f"memory.kinds.{kind}.{field}") for kind in kinds)
        return Quantity(label=label, unit=Unit.bytes, terms=terms)

    held = [summed("parameters", 1, "params_bytes"), summed("gradients", states.gradient, "params_floats")]
    if states.optimizer:
        held.append(summed("optimizer states", states.optimizer, "params_floats"))
    activations = [
        Quantity(
            label=f"activations, {KIND_NAMES[Kind(kind)].lower()}",
            unit=Unit.bytes,
            terms=((counts[kind], f"memory.kinds.{kind}.act_mem_bytes"),),
        )
        for kind in kinds
    ]
    return [*held, *activations]


def _peaks(content: Content) -> list[Quantity]:
    """Return the quantities of the table alone: the peaks of every phase, and those of the allocator and the device."""
    of_phases = [
        Quantity(
            label=f"{KIND_NAMES[Kind(kind)].lower()}, {phase}: highest above its start",
            unit=Unit.bytes,
            terms=((1, f"memory.kinds.{kind}.peak_{phase}_bytes"),),
        )
        for kind in content.kinds
        for phase in PHASES
    ]
    reserved = Quantity(label="reserved by the allocator", unit=Unit.bytes, terms=((1, "memory.reserved_bytes"),))
    used = Quantity(label="used on the device", unit=Unit.bytes, terms=((1, "memory.device_used_bytes"),))
    return [*of_phases, reserved, used]


def _charts(
    content: Content, parts: Sequence[Quantity], *, title: str, note: str, peaks: Quantity | None
) -> list[ET.Element]:
    columns = columns_of(content, parts)
    stacks = _stacks(columns)
    peak_column = next(iter(columns_of(content, [peaks])), None) if peaks else None
    highest = max([*stacks.values(), *(figure.value for figure in peak_column.figures.values())] if peak_column else
                  stacks.values())  # fmt: skip
    limit = _limit(content, highest)
    y = bytes_scale(max(highest, limit.value * 1.02 if limit else 0))
    charts = [
        stacked_bars(
            f"tp {tp}",
            [_bars(column, tp) for column in columns],
            microbatches=content.microbatches,
            y=y,
            limit=limit,
            peaks=_bars(peak_column, tp) if peak_column else None,
            without=_without(content, tp),
        )
        for tp in content.tps
        if any(key.tp == tp for key in stacks)
    ]
    first, *rest = row_of_charts(title, *charts)
    return [first, tag("p", f"{note} {_limit_sentence(content, drawn=limit is not None)}", class_="note"), *rest]


def _stacks(columns: Sequence[Column]) -> dict[CellKey, float]:
    stacks: dict[CellKey, float] = {}
    for column in columns:
        for key, figure in column.figures.items():
            stacks[key] = stacks.get(key, 0) + figure.value
    return stacks


def _bars(column: Column, tp: int) -> Bars:
    figures: dict[int, Figure] = {key.mbs: figure for key, figure in column.figures.items() if key.tp == tp}
    formula: Formula = column.formula
    return Bars(label=column.label, style=_style(column.label), formula=formula, figures=figures)


def _style(label: str) -> str:
    return label.replace(",", "").replace(" ", "-")


def _without(content: Content, tp: int) -> dict[int, str]:
    return {
        mbs: _WHY[outcome]
        for mbs in content.microbatches
        if (outcome := content.outcome(CellKey(tp, mbs))) in _WHY
    }  # fmt: skip


def _gpu_bytes(content: Content) -> float:
    return max(cell.gpu_bytes for cell in content.measured.values())


def _limit(content: Content, highest: float) -> Limit | None:
    gpu_bytes = _gpu_bytes(content)
    if gpu_bytes > _FAR * highest:
        return None
    return Limit(value=gpu_bytes, label=f"{readable_bytes(int(gpu_bytes))}, {content.config.gpu.name}")


def _limit_sentence(content: Content, *, drawn: bool) -> str:
    size = readable_bytes(int(_gpu_bytes(content)))
    name = content.config.gpu.name
    if drawn:
        return f"The dashed line is the {size} of {name}."
    return f"The {size} of {name} are more than {_FAR} times what is drawn, so no line stands for them."


def _state_sentence(content: Content) -> str:
    config = content.config
    states = state_bytes(config.precision, config.optimizer)
    master = ", the fp32 master copy among them" if config.precision is Precision.bf16 else ""
    optimizer = (
        f"{states.optimizer} bytes of {config.optimizer.value} states{master}" if states.optimizer else "no states"
    )
    return f"{states.gradient} bytes of gradient and {optimizer} for each"


def _chain_note(content: Content) -> str:
    cell = next(iter(content.measured.values()))
    counts = Counter(part.kind for part in cell.samples.parts)
    names = [f"{count} x {KIND_NAMES[Kind(kind)].lower()}" for kind, count in counts.items()]
    return (
        f"{', '.join(names)}. The line across a bar is the highest allocation of a step, as measured. It lies below "
        "the top of the stack where gradients and activations are not there at the same time, and above it where "
        "temporaries add to them."
    )


def _whole_note(content: Content) -> str:
    tied = not content.config.model.untie_embeddings_and_output_weights
    sharing = " Embedding and head are counted with a matrix each, though the model ties them." if tied else ""
    cell = next(iter(content.measured.values()))
    counts = Counter(cell.layers.values())
    names = [f"{count} x {KIND_NAMES[Kind(kind)].lower()}" for kind, count in counts.items()]
    return (
        f"Each part as often as the model has it ({', '.join(names)}), without a pipeline, and with all activations of "
        f"one microbatch. Nothing of this was run as a whole; temporaries and fragmentation come on top.{sharing}"
    )


def _legend(parts: Sequence[Quantity]) -> ET.Element:
    items: list[Child] = [tag("li", swatch(_style(part.label)), f" {part.label}") for part in reversed(parts)]
    return tag("ul", items, tag("li", tag("span", class_="peak-sample"), " measured peak"), class_="legend")
