"""The origin of the numbers: machine, device, versions, commit, dates, sampling, and every record."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from sailor_exp.config.schema import plain
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.provenance import Provenance
from sailor_exp.records.record import Outcome, Record
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.layout import cell_name, folded, scrolled, section
from sailor_exp.report.drawing.markup import Child, tag
from sailor_exp.units import readable_bytes


def provenance(content: Content) -> ET.Element:
    """Return the section: the facts of all records, common or counted, and a line for each record."""
    lead = "What all records say alike stands once; where they differ, each value stands with the number of records."
    model = [(key, str(value)) for key, value in plain(content.config.model).items() if value is not None]
    return section(
        "provenance",
        "Provenance",
        lead,
        _facts(_common_facts(content)),
        folded("The model", _facts(model)),
        folded("Every record", scrolled(_records(content))),
    )


def reading() -> ET.Element:
    """Return the footer: what holds for every number of the page."""
    return tag(
        "footer",
        tag(
            "p",
            "Times are trimmed means over the steps of the slowest rank; intervals are 95 % intervals of batch medians "
            "and hold for the machine as it then was. Each number of this page carries in its element the cell, the "
            "formula and the value to nine digits (data-of, data-formula, data-value); the records hold the raw "
            "samples. docs/measuring.md says what each timer brackets.",
        ),
    )


def _common_facts(content: Content) -> list[tuple[str, str]]:
    counts_by_name: dict[str, dict[str, int]] = {}
    for facts in content.provenance.values():
        for name, value in _named(facts):
            counts = counts_by_name.setdefault(name, {})
            counts[value] = counts.get(value, 0) + 1
    return [(name, _alike_or_counted(counts)) for name, counts in counts_by_name.items()]


def _alike_or_counted(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({_records_of(count)})" for value, count in counts.items())


def _records_of(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def _named(facts: Provenance) -> Iterator[tuple[str, str]]:
    yield "host", facts.host
    yield "processor", f"{facts.cpu}, {facts.cpu_cores} cores; threads a rank: {facts.threads_per_rank}"
    for device in dict.fromkeys(_device(device.model_dump()) for device in facts.devices):
        yield "device", device
    yield "commit", _commit(facts)
    for name, version in facts.versions.items():
        if version is not None:
            yield name, version
    for name, value in facts.slurm.items():
        if name not in _OF_EACH_JOB:
            yield f"SLURM {name.removeprefix('SLURM_')}", value
    if facts.sampling:
        yield "sampling", ", ".join(f"{name} {value}" for name, value in facts.sampling.items() if value is not None)


_OF_EACH_JOB = {"SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"}


def _device(device: dict[str, Any]) -> str:
    """Return a device as its driver names it, without clocks and identifier, which differ between two of a kind."""
    memory = device["memory_bytes"]
    extra = {"driver": device["driver"], "CUDA": device["cuda"], "NCCL": device["nccl"]}
    return ", ".join(
        [
            device["name"],
            *([readable_bytes(memory)] if memory is not None else []),
            *(f"{name} {value}" for name, value in extra.items() if value is not None),
        ]
    )


def _commit(facts: Provenance) -> str:
    if facts.commit is None:
        return "not known"
    return facts.commit + (", with changes that no commit holds" if facts.dirty else "")


def _facts(facts: list[tuple[str, str]]) -> ET.Element:
    return tag("dl", [(tag("dt", name), tag("dd", value)) for name, value in facts], class_="known")


def _records(content: Content) -> ET.Element:
    names = ("cell", "outcome", "steps", "converged", "finished", "host", "job", "file")
    body = [_line(key, name, record) for key, (name, record) in content.records.items()]
    head = tag("thead", tag("tr", [tag("th", name, scope="col") for name in names]))
    return tag("table", head, tag("tbody", body), class_="numbers left")


def _line(key: CellKey, name: str, record: Record[LayersMeasurement]) -> ET.Element:
    facts = record.provenance
    steps: Child = "-"
    converged = "-"
    if record.outcome is Outcome.ok:
        statistics = record.measured.statistics
        of = cell_name(key).removeprefix("record-")
        number = str(statistics.steps)
        steps = tag("span", number, data_value=number, data_of=of, data_formula="statistics.steps")
        converged = "yes" if statistics.converged else "no"
    finished = facts.finished_at.replace("T", " ").replace("+00:00", " UTC")
    texts = [finished, facts.host, facts.slurm.get("SLURM_JOB_ID", "-"), name]
    return tag(
        "tr",
        tag("th", str(key), scope="row"),
        tag("td", record.outcome.value),
        tag("td", steps),
        tag("td", converged),
        [tag("td", text) for text in texts],
        id=cell_name(key),
    )
