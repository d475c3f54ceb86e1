"""Shows which cells of the grid there are, and says what a reader of the database lacks."""

from collections.abc import Iterable

from sailor_exp.config.schema import GatherConfig
from sailor_exp.exporters.sailor.grid import State, Table
from sailor_exp.exporters.sailor.merge import Merged
from sailor_exp.profiles.advice import advice_of
from sailor_exp.profiles.layers.published import CellKey


def grid(table: Table) -> str:
    """Return the grid as text: a line for each tensor parallel degree, a column for each microbatch."""
    heads = [f"mbs={mbs}" for mbs in table.microbatches]
    lines = [[f"tp={tp}", *(_state(table, CellKey(tp, mbs)) for mbs in table.microbatches)] for tp in table.tps]
    widths = [max(len(row[column]) for row in [["", *heads], *lines]) for column in range(len(heads) + 1)]
    rows = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in [["", *heads], *lines]]
    return "\n".join("  ".join(row).rstrip() for row in rows)


def lacking(table: Table, merged: Merged, config: GatherConfig) -> list[str]:
    """What a reader needs and does not find, each with the cells to measure."""
    found = []
    if lost := table.lost():
        found.append(f"the simulator takes {_told(lost.items())} for 0 s. {_command(config, lost)}")
    tps = {key.tp for key in table.cells}
    if without := sorted(tps - merged.memory_tps):
        cells = [CellKey(tp, 1) for tp in without]
        found.append(f"llm_info.json has no tp={_list(without)}: it comes from mbs=1. {_command(config, cells)}")
    if 1 not in merged.memory_tps | set(without):
        found.append(f"llm_info.json has no tp=1, which Sailor's readers need. {_command(config, [CellKey(1, 1)])}")
    return found


def _state(table: Table, key: CellKey) -> str:
    return f"{table.state(key)}{'*' if key in table.foreign else ''}"


def _told(cells: Iterable[tuple[CellKey, State]]) -> str:
    return ", ".join(f"{key} ({state})" for key, state in cells)


def _command(config: GatherConfig, cells: Iterable[CellKey]) -> str:
    return f"Measure with `{advice_of(config).measure(cells)}`"


def _list(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in numbers)
