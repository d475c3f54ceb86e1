"""Shows a sweep while it runs, and its results at the end."""

import platform
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
from sailor_exp.provenance import package_versions
from sailor_exp.record import Outcome, Record, Timing, records_directory
from sailor_exp.sweep import Result
from sailor_exp.units import readable_bytes, readable_seconds

_WIDTH_WITHOUT_TERMINAL = 120
_PLAIN_EVERY_S = 10.0
_PHASES = ("forward", "backward", "update")
_LEGEND = """Times: trimmed mean over the steps of the slowest rank, ± half-width of the 95 % interval of batch medians.
Converged: that interval of the whole step, calibrated, is within the target; otherwise the same command with a larger
sampling.max_steps or sampling.budget_s measures again. Memory of one rank: what a part keeps for its backward, and
its highest above where it began."""
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
            self._page.print(
                f"{_label(self._cells[cell])}: {phase} {self._details[cell]}", highlight=False, soft_wrap=True
            )

    def waiting(self, cell: int, text: str) -> None:
        """Show the job that a cell waits for; plain output gets a line where that has changed."""
        if self._states[cell] == escape(text):
            return
        self._states[cell] = escape(text)
        if self._live is not None:
            self._live.update(self._table())
        else:
            self._page.print(f"{_label(self._cells[cell])}: {self._states[cell]}", highlight=False)

    def done(self, cell: int, record: Record, *, reused: bool) -> None:
        """Show how a cell ended."""
        note = f" (was there{_made_elsewhere(record)})" if reused else ""
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


def _made_elsewhere(record: Record) -> str:
    """What of a record that is used again differs from what would measure now."""
    made, here = record.provenance, {**package_versions(), "host": platform.node()}
    there = {**made.versions, "host": made.host}
    other = [name for name in here if there.get(name) != here[name]]
    return f", made with another {', '.join(other)}: force=true measures again" if other else ""


def _one_line(record: Record) -> str:
    if record.statistics is None:
        return _ending(record).partition("\n")[0]
    statistics = record.statistics
    step = f"step {readable_seconds(statistics.step.median_s)} {_spread(statistics.relative_half_width)}"
    return f"{step}, median of {statistics.steps}{_doubt(record)}"


def _spread(relative_half_width: float | None) -> str:
    if relative_half_width is None:
        return "±?"
    percent = 100 * relative_half_width
    return f"±{percent:.1f}%" if percent < 10 else f"±{percent:.0f}%"  # noqa: PLR2004


def _doubt(record: Record) -> str:
    statistics = record.statistics
    if statistics is None or statistics.converged:
        return ""
    return f", not converged to {100 * statistics.target:g}%"


def print_results(results: Sequence[Result], page: Console) -> None:
    """Print a table for each model and GPU, where the files are, and each cell that has no number and why."""
    for title, group in _by_model_and_gpu(results).items():
        page.print(_results_table(title, group))
    if any(result.record.statistics for result in results):
        page.print(_LEGEND, highlight=False)
    for directory in dict.fromkeys(Path(result.cell.profile_dir) for result in results):
        page.print(
            f"profiles: {directory}/   records: {records_directory(directory)}/", highlight=False, soft_wrap=True
        )
    for result in results:
        if result.record.outcome is not Outcome.ok:
            page.print(_reason(result), highlight=False, soft_wrap=True)


def _by_model_and_gpu(results: Sequence[Result]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.record.outcome is Outcome.ok:
            groups.setdefault(f"{result.cell.model.name} on {result.cell.gpu.name}", []).append(result)
    return groups


def _results_table(title: str, results: Sequence[Result]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for column in ("tp", "mbs", "steps", "converged", "part", *_PHASES, "activations", "peak"):
        table.add_column(column, justify="left" if column == "part" else "right", no_wrap=True)
    for result in results:
        for row in _rows(result.record):
            table.add_row(*row)
        table.add_section()
    return table


def _rows(record: Record) -> Iterator[list[str]]:
    statistics, memory, identity = record.statistics, record.memory, record.identity
    if statistics is None or memory is None:
        return
    converged = "yes" if statistics.converged else f"[yellow]no, {_spread(statistics.relative_half_width)}[/]"
    head = [str(identity.tp), str(identity.mbs), str(statistics.steps), converged]
    for kind, phases in statistics.kinds.items():
        counts = memory.kinds[kind]
        peak = max(counts.peak_forward_bytes, counts.peak_backward_bytes, counts.peak_update_bytes)
        times = [_time(timing) for timing in (phases.forward, phases.backward, phases.update)]
        yield [*head, kind, *times, readable_bytes(counts.act_mem_bytes), readable_bytes(peak)]
        head = [""] * len(head)


def _time(timing: Timing) -> str:
    return f"{readable_seconds(timing.value_s)} {_spread(timing.relative_half_width)}"


def _reason(result: Result) -> str:
    record = result.record
    log = f" (log: {record.ending.log})" if record.ending and record.ending.log else ""
    outcome = f"[{_STYLE[record.outcome]}]{record.outcome}[/]"
    return f"no number for {_label(result.cell)}: {outcome} {_ending(record)}{log}"


def _ending(record: Record) -> str:
    if record.ending is None:
        return ""
    place = f"in {record.ending.phase}: " if record.ending.phase else ""
    return escape(f"{place}{record.ending.message}")
