"""Shows a sweep while it runs, and its results at the end."""

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.identity import cell_keys, keys_of, label, several_profiles, subject
from sailor_exp.profiles.registry import profile_named, profile_of
from sailor_exp.records.files import records_directory
from sailor_exp.records.provenance import package_versions
from sailor_exp.records.record import Outcome, Record
from sailor_exp.sweep.sweep import Result

_PLAIN_EVERY_S = 10.0

_STYLE = {
    Outcome.ok: "green",
    Outcome.oom: "yellow",
    Outcome.skipped: "yellow",
    Outcome.infeasible: "yellow",
    Outcome.failed: "red",
    Outcome.timeout: "red",
}


class LiveDisplay:
    """A table of the grid that follows the sweep; plain lines without a terminal."""

    def __init__(self, cells: Sequence[Cell], page: Console) -> None:
        self._cells = cells
        self._of_several = several_profiles(cells)
        self._page = page
        self._states = ["waiting"] * len(cells)
        self._details = [""] * len(cells)
        self._live = Live(self._table(), console=page, transient=True) if page.is_terminal else None
        self._printed_at = 0.0

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
        elif time.monotonic() - self._printed_at > _PLAIN_EVERY_S:
            self._printed_at = time.monotonic()
            self._page.print(f"{self._label(cell)}: {phase} {self._details[cell]}", highlight=False, soft_wrap=True)

    def waiting(self, cell: int, text: str) -> None:
        """Show the job that a cell waits for; plain output gets a line when the text changes."""
        if self._states[cell] == escape(text):
            return
        self._states[cell] = escape(text)
        if self._live is not None:
            self._live.update(self._table())
        else:
            self._page.print(f"{self._label(cell)}: {self._states[cell]}", highlight=False)

    def done(self, cell: int, record: Record[Any], *, reused: bool) -> None:
        """Show how a cell ended."""
        note = f" (was there{_changed_environment(record)})" if reused else ""
        self._states[cell] = f"[{_STYLE[record.outcome]}]{record.outcome}[/]{note}"
        self._details[cell] = _one_line(record)
        if self._live is not None:
            self._live.update(self._table())
        else:
            self._page.print(f"{self._label(cell)}: {self._states[cell]} {self._details[cell]}", highlight=False)

    def _label(self, cell: int) -> str:
        return label(self._cells[cell], of_several=self._of_several)

    def _table(self) -> Table:
        keys = keys_of(self._cells)
        table = Table(title="sweep", title_justify="left")
        for column in ("model", "gpu", *keys, "state", ""):
            table.add_column(column, justify="right" if column in keys else "left")
        for cell, state, detail in zip(self._cells, self._states, self._details, strict=True):
            own = cell_keys(cell)
            model = subject(cell, of_several=self._of_several)
            table.add_row(model, cell.gpu.name, *(str(own.get(key, "")) for key in keys), state, detail)
        return table


def _changed_environment(record: Record[Any]) -> str:
    """Return a note of the versions and the host of a reused record that differ from the present ones."""
    present = {**package_versions(), "host": platform.node()}
    recorded = {**record.provenance.versions, "host": record.provenance.host}
    changed = [name for name in present if recorded.get(name) != present[name]]
    return f", made with another {', '.join(changed)}: force=true measures again" if changed else ""


def _one_line(record: Record[Any]) -> str:
    if record.outcome is not Outcome.ok:
        return _ending(record).partition("\n")[0]
    return profile_named(record.identity.profile).one_line(record.measured)


def print_results(results: Sequence[Result], page: Console) -> None:
    """Print a table for each model and GPU, the paths of the files, and why a cell has no number."""
    groups = _by_subject(results)
    for (_, title), group in groups.items():
        page.print(_results_table(title, group))
    for name in dict.fromkeys(name for name, _ in groups):
        page.print(profile_named(name).legend, highlight=False)
    for directory in dict.fromkeys(Path(result.cell.profile_dir) for result in results):
        page.print(
            f"profiles: {directory}/   records: {records_directory(directory)}/", highlight=False, soft_wrap=True
        )
    of_several = several_profiles([result.cell for result in results])
    for result in results:
        if result.record.outcome is not Outcome.ok:
            page.print(_reason(result, of_several=of_several), highlight=False, soft_wrap=True)


def _by_subject(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Return the results with numbers, by profile and title of the table."""
    groups: dict[tuple[str, str], list[Result]] = {}
    of_several = several_profiles([result.cell for result in results])
    for result in results:
        if result.record.outcome is Outcome.ok:
            identity = result.record.identity
            title = f"{subject(result.cell, of_several=of_several)} on {identity.gpu_name}"
            groups.setdefault((identity.profile, title), []).append(result)
    return groups


def _results_table(title: str, results: Sequence[Result]) -> Table:
    profile = profile_of(results[0].cell)
    table = Table(title=title, title_justify="left", caption_justify="left")
    for column in profile.columns:
        table.add_column(column.name, justify=column.side, no_wrap=True)
    for result in results:
        for row in profile.rows(result.record):
            table.add_row(*row)
        table.add_section()
    return table


def _reason(result: Result, *, of_several: bool) -> str:
    record = result.record
    log = f" (log: {record.ending.log})" if record.ending and record.ending.log else ""
    outcome = f"[{_STYLE[record.outcome]}]{record.outcome}[/]"
    return f"no number for {label(result.cell, of_several=of_several)}: {outcome} {_ending(record)}{log}"


def _ending(record: Record[Any]) -> str:
    if record.ending is None:
        return ""
    place = f"in {record.ending.phase}: " if record.ending.phase else ""
    return escape(f"{place}{record.ending.message}")
