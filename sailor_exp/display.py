"""Shows a sweep while it runs, and its results at the end."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from sailor_exp.config import Cell
from sailor_exp.record import Outcome, Record, Timing, records_directory
from sailor_exp.sweep import Result
from sailor_exp.units import readable_bytes, readable_seconds

_WIDTH_WITHOUT_TERMINAL = 120
_PLAIN_EVERY_S = 10.0
_STYLE = {
    Outcome.ok: "green",
    Outcome.oom: "yellow",
    Outcome.skipped: "yellow",
    Outcome.infeasible: "yellow",
    Outcome.failed: "red",
    Outcome.timeout: "red",
}


def console() -> Console:
    """Return the terminal, or a page wide enough for the tables where output goes elsewhere."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)


def _label(cell: Cell) -> str:
    return f"{cell.model.name} {cell.gpu.name} tp={cell.tp} mbs={cell.mbs}"


class LiveDisplay:
    """A table of the grid that follows the sweep; plain lines where there is no terminal."""

    def __init__(self, cells: Sequence[Cell], page: Console) -> None:
        self._cells = cells
        self._page = page
        self._states = ["waiting"] * len(cells)
        self._details = [""] * len(cells)
        self._live = Live(self._table(), console=page, transient=True) if page.is_terminal else None
        self._said_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def running(self, cell: int, phase: str, steps: int) -> None:
        """Show the phase of a cell."""
        self._states[cell] = f"[cyan]{phase}[/]"
        self._details[cell] = f"{steps} steps" if steps else ""
        if self._live is not None:
            self._live.update(self._table())
        elif time.monotonic() - self._said_at > _PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            self._page.print(f"{_label(self._cells[cell])}: {phase} {self._details[cell]}", highlight=False)

    def done(self, cell: int, record: Record, *, reused: bool) -> None:
        """Show how a cell ended."""
        note = " (was there)" if reused else ""
        self._states[cell] = f"[{_STYLE[record.outcome]}]{record.outcome}[/]{note}"
        self._details[cell] = _one_line(record)
        if self._live is not None:
            self._live.update(self._table())
        else:
            self._page.print(
                f"{_label(self._cells[cell])}: {self._states[cell]} {self._details[cell]}", highlight=False
            )

    def _table(self) -> Table:
        table = Table(title="sweep", title_justify="left")
        for column in ("model", "gpu", "tp", "mbs", "state", ""):
            table.add_column(column, justify="right" if column in {"tp", "mbs"} else "left")
        for cell, state, detail in zip(self._cells, self._states, self._details, strict=True):
            table.add_row(cell.model.name, cell.gpu.name, str(cell.tp), str(cell.mbs), state, detail)
        return table


def _one_line(record: Record) -> str:
    if record.statistics is None:
        return record.ending.message if record.ending else ""
    step = record.statistics.step
    return (
        f"step {readable_seconds(step.median_s)} median of {record.statistics.steps}, {_spread(step)}{_doubt(record)}"
    )


def _spread(timing: Timing) -> str:
    width = timing.relative_half_width
    return "spread unknown" if width is None else f"±{100 * width:.1f} %"


def _doubt(record: Record) -> str:
    statistics = record.statistics
    if statistics is None or statistics.converged:
        return ""
    return f", not converged to {100 * statistics.target:g} %"


def print_results(results: Sequence[Result], page: Console) -> None:
    """Print the table of results, then each cell that has no number and why, then where the files are."""
    measured = [result for result in results if result.record.outcome is Outcome.ok]
    if measured:
        page.print(_results_table(measured))
        page.print("Trimmed means of the slowest rank; ± is the half-width of the 95 % interval of batch medians.")
    for result in measured:
        if doubt := _doubt(result.record):
            page.print(
                f"[yellow]{_label(result.cell)}{doubt}[/]: raise sampling.max_steps or sampling.budget_s",
                highlight=False,
            )
    for directory in dict.fromkeys(Path(result.cell.profile_dir) for result in results):
        page.print(f"profiles: {directory}/   records: {records_directory(directory)}/", highlight=False)
    for result in results:
        if result.record.outcome is not Outcome.ok:
            page.print(_reason(result), highlight=False)


def _results_table(results: Sequence[Result]) -> Table:
    table = Table(title="seconds and bytes of one rank", title_justify="left")
    for column in (
        "model",
        "gpu",
        "tp",
        "mbs",
        "steps",
        "part",
        "forward",
        "backward",
        "update",
        "activations",
        "peak",
    ):
        table.add_column(column, justify="left" if column in {"model", "gpu", "part"} else "right")
    for result in results:
        for row in _rows(result):
            table.add_row(*row)
        table.add_section()
    return table


def _rows(result: Result) -> Iterator[list[str]]:
    cell, statistics, memory = result.cell, result.record.statistics, result.record.memory
    if statistics is None or memory is None:
        return
    steps = f"{statistics.steps}" if statistics.converged else f"[yellow]{statistics.steps}, not converged[/]"
    head = [cell.model.name, cell.gpu.name, str(cell.tp), str(cell.mbs), steps]
    for kind, phases in statistics.kinds.items():
        counts = memory.kinds[kind]
        peak = max(counts.peak_forward_bytes, counts.peak_backward_bytes, counts.peak_update_bytes)
        times = [_time(timing) for timing in (phases.forward, phases.backward, phases.update)]
        yield [*head, kind, *times, readable_bytes(counts.act_mem_bytes), readable_bytes(peak)]
        head = [""] * len(head)


def _time(timing: Timing) -> str:
    width = timing.relative_half_width
    return f"{readable_seconds(timing.value_s)} " + ("± ?" if width is None else f"±{100 * width:3.0f} %")


def _reason(result: Result) -> str:
    record = result.record
    line = f"no number for {_label(result.cell)}: [{_STYLE[record.outcome]}]{record.outcome}[/]"
    if record.ending is None:
        return line
    place = f" in {record.ending.phase}" if record.ending.phase else ""
    log = f" (log: {record.ending.log})" if record.ending.log else ""
    return f"{line}{place}: {escape(record.ending.message)}{log}"
