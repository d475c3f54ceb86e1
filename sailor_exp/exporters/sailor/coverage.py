"""Shows the outcome of each cell of the grid, and names what a reader of the database lacks."""

from collections.abc import Collection, Iterable, Mapping

from sailor_exp.exporters.sailor.grid import Grid, word
from sailor_exp.profiles.advice import Advice
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.record import Outcome
from sailor_exp.terminal import aligned


def shown(grid: Grid) -> str:
    """Return the grid as text: a line for each tensor parallel degree, a column for each microbatch."""
    heads = ["", *(f"mbs={mbs}" for mbs in grid.microbatches)]
    lines = [[f"tp={tp}", *(_word(grid, CellKey(tp, mbs)) for mbs in grid.microbatches)] for tp in grid.tps]
    return aligned([heads, *lines])


def lacking(grid: Grid, memory_tps: Collection[int], advice: Advice) -> list[str]:
    """Return a sentence for each thing that a reader needs and does not find, with the command that measures it.

    memory_tps: tensor parallel degrees whose memory the database has.
    """
    lacks = []
    if lost := grid.lost():
        lacks.append(f"the simulator takes {_named(lost)} for 0 s. {_command(advice, lost)}")
    tps = {key.tp for key in grid.cells}
    if missing_tps := sorted(tps - set(memory_tps)):
        cells = [CellKey(tp, 1) for tp in missing_tps]
        names = ",".join(str(tp) for tp in missing_tps)
        lacks.append(f"llm_info.json has no tp={names}: it comes from mbs=1. {_command(advice, cells)}")
    if 1 not in {*memory_tps, *missing_tps}:
        lacks.append(f"llm_info.json has no tp=1, which Sailor's readers need. {_command(advice, [CellKey(1, 1)])}")
    return lacks


def _word(grid: Grid, key: CellKey) -> str:
    return f"{word(grid.outcome(key))}{'*' if key in grid.foreign else ''}"


def _named(cells: Mapping[CellKey, Outcome | None]) -> str:
    return ", ".join(f"{key} ({word(outcome)})" for key, outcome in cells.items())


def _command(advice: Advice, cells: Iterable[CellKey]) -> str:
    return f"Measure with `{advice.measure(cells)}`"
