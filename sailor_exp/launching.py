"""The command `launch.py`: from a command line to records, with an exporter to planners' files, and to an exit status.

0: every cell has a result, out of memory included, and every export is whole; or all jobs were submitted, and the
command does not wait for them. 1: a cell failed or timed out, an export lacks something, or an error ended the command.
2: the command was wrong, and nothing was started. 130: the command was interrupted; measured cells have their records.
"""

import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Never

from omegaconf import DictConfig

from sailor_exp import command_line
from sailor_exp.command_line import BROKEN, WRONG, launch_faults
from sailor_exp.config.schema import Action, Cell, cell_from
from sailor_exp.errors import ConfigurationError, SailorExpError
from sailor_exp.exporters.needed_cells import Compose, Plan, asked_cell, plan, with_one_exporter
from sailor_exp.profiles.faults import grid_faults, one_machine_fault, one_machine_faults
from sailor_exp.profiles.identity import label
from sailor_exp.slurm.neighbours import sharing
from sailor_exp.slurm.options import SlurmOptions, cell_faults, options_from, sweep_faults
from sailor_exp.sweep import reuse, sweep
from sailor_exp.sweep.display import LiveDisplay, print_results
from sailor_exp.sweep.rank_group import server
from sailor_exp.sweep.reuse import first_places, record_path
from sailor_exp.sweep.sweep import Result
from sailor_exp.terminal import console


class Sweeps:
    """The methods that the launcher plugins call, with all cells of a sweep at once.

    `run` and `submit` return the cells' outcomes. All methods raise SystemExit, which Hydra passes on without a
    traceback, for an error that ends the sweep early, for a broken cell, and for an export that lacks something.
    """

    def __init__(self) -> None:
        self.exporters: tuple[str, ...] = ()
        self._plan: Plan | None = None

    def planned(self, job_overrides: Sequence[Sequence[str]], compose: Compose) -> Sequence[Sequence[str]]:
        """Return the overrides of the cells to measure: with an exporter, those of all that it needs."""
        with _errors_printed():
            self._plan = plan(job_overrides, compose, self.exporters)
        return job_overrides if self._plan is None else self._plan.jobs

    def run(self, configs: Sequence[DictConfig]) -> list[str]:
        """Measure the cells on this machine."""
        cells = [cell_from(config) for config in configs]
        with _errors_printed():
            _refuse(grid_faults(cells))
            if (action := _action(cells)) is not Action.launch:
                return {Action.status: _show_records, Action.cancel: _refuse_cancel}[action](cells)
            if self._plan is None:
                _refuse(one_machine_faults(cells))
                return _outcomes(_measure(cells))
            places = [place for place in first_places(cells) if one_machine_fault(cells[place]) is None]
            return _export(
                cells, self._plan, dict(zip(places, _measure([cells[place] for place in places]), strict=True))
            )

    def submit(self, configs: Sequence[DictConfig], launchers: Sequence[DictConfig]) -> list[str]:
        """Measure the cells on SLURM. launchers: `hydra.launcher` as each cell's own configuration has it."""
        cells = [cell_from(config) for config in configs]
        with _errors_printed():
            _refuse(grid_faults(cells))
            options = _checked_options(cells, launchers)
            if (action := _action(cells)) is not Action.launch:
                return {Action.status: _show_jobs, Action.cancel: _cancel_jobs}[action](cells, options)
            if self._plan is None:
                results = _measure_on_slurm(cells, options)
                return ["submitted"] * len(cells) if results is None else _outcomes(results)
            places = first_places(cells)
            results = _measure_on_slurm([cells[place] for place in places], [options[place] for place in places])
            if results is None:
                print("the same command exports when all jobs have ended", flush=True)
                return ["submitted"] * len(cells)
            return _export(cells, self._plan, dict(zip(places, results, strict=True)))


def _refuse(messages: Sequence[str]) -> None:
    """Raise ConfigurationError for faults: the check of the command line does not cover every way to compose."""
    if messages:
        raise ConfigurationError(messages)


def _run_one(config: DictConfig) -> str:
    return Sweeps().run([config])[0]


_sweeps = Sweeps()
_run_one.grid = _sweeps  # type: ignore[attr-defined]  # the launcher plugins' contract


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    cells: list[Cell] = []

    def faults_of(config: DictConfig) -> list[str]:
        cell = cell_from(config)
        cells.append(asked_cell(cell))
        return launch_faults(cell)

    def prepared(checked: list[str]) -> list[str]:
        _refuse(grid_faults(cells))
        _start_importing(checked, cells)
        _sweeps.exporters, for_hydra = with_one_exporter(checked)
        return for_hydra

    warnings.showwarning = _show_warning
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return command_line.run(
        replace(command_line.LAUNCH, faults=faults_of),
        _run_one,
        arguments,
        prepared=prepared,
        interrupted="the same command goes on from what was measured",
    )


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as a message to a user, without the line of code that caused it."""
    print(f"warning: {message}", file=sys.stderr)


@contextmanager
def _errors_printed() -> Iterator[None]:
    """Turn our errors into one message and an exit status."""
    try:
        yield
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        raise SystemExit(WRONG) from error
    except SailorExpError as error:
        raise SystemExit(str(error)) from error


def _action(cells: Sequence[Cell]) -> Action:
    """Return the action of all cells. Raises ConfigurationError where they differ."""
    actions = list(dict.fromkeys(cell.action for cell in cells))
    if len(actions) > 1:
        raise ConfigurationError([f"action={','.join(actions)}: one command does one of them"])
    return actions[0]


def _measure(cells: Sequence[Cell]) -> list[Result]:
    page = console()
    with LiveDisplay(cells, page) as display:
        results = sweep.run(cells, display, neighbours=sharing)
    print_results(results, page)
    return results


def _export(cells: Sequence[Cell], plan: Plan, results: Mapping[int, Result]) -> list[str]:
    """Export what was measured, and return the outcomes. Raises SystemExit where something is missing."""
    from sailor_exp.exporting import export

    first = {record_path(cells[place]): place for place in results}
    of_cell = {place: results.get(first.get(record_path(cell), place)) for place, cell in enumerate(cells)}
    unmeasured = {place: why for place, result in of_cell.items() if (why := _why_unmeasured(cells[place], result))}
    if not export(plan, unmeasured, console()):
        raise SystemExit(BROKEN)
    return [result.record.outcome.value for result in of_cell.values() if result is not None]


def _why_unmeasured(cell: Cell, result: Result | None) -> str | None:
    if result is None:
        return f"{label(cell, of_several=True)}: {one_machine_fault(cell)}"
    if not result.record.outcome.broken:
        return None
    message = f", {result.record.ending.message}" if result.record.ending else ""
    return f"{label(cell, of_several=True)}: {result.record.outcome}{message}"


def _show_records(cells: Sequence[Cell]) -> list[str]:
    from sailor_exp.slurm import status

    rows = status.local_rows(cells)
    status.print_rows(rows, console())
    return [row.state for row in rows]


def _refuse_cancel(cells: Sequence[Cell]) -> Never:
    raise ConfigurationError(
        [f"action=cancel takes back jobs, and this command has none for its {len(cells)} cells: add -m and a launcher"]
    )


def _checked_options(cells: Sequence[Cell], launchers: Sequence[DictConfig]) -> list[SlurmOptions]:
    """Return each cell's options. Raises ConfigurationError with the faults of all cells."""
    from sailor_exp.slurm.commands import require_slurm

    options = [options_from(launcher) for launcher in launchers]
    messages = [fault for cell, asked in zip(cells, options, strict=True) for fault in cell_faults(cell, asked)]
    messages += sweep_faults(options)
    if messages:
        raise ConfigurationError(list(dict.fromkeys(messages)))
    require_slurm()
    return options


def _measure_on_slurm(cells: Sequence[Cell], options: Sequence[SlurmOptions]) -> list[Result] | None:
    """Return the results; None where jobs remain that the command does not wait for."""
    from sailor_exp.slurm.grid import SlurmGrid

    page = console()
    with LiveDisplay(cells, page) as display:
        grid = SlurmGrid(cells, options, display)
        start = grid.start()
        page.print(start.summary, highlight=False, soft_wrap=True)
        if not options[0].wait and (start.submitted or start.attached or start.refused):
            if start.refused:
                raise SystemExit(BROKEN)
            return None
        try:
            results = grid.follow()
        except KeyboardInterrupt:
            page.print("the jobs go on: the same command comes back to them, action=cancel takes them back")
            raise
    print_results(results, page)
    return results


def _show_jobs(cells: Sequence[Cell], options: Sequence[SlurmOptions]) -> list[str]:
    from sailor_exp.slurm import status

    rows = status.rows(cells, Path(options[0].submission_dir).absolute())
    status.print_rows(rows, console())
    return [row.state for row in rows]


def _cancel_jobs(cells: Sequence[Cell], options: Sequence[SlurmOptions]) -> list[str]:
    from sailor_exp.slurm import status

    cancelled = status.cancel(cells, Path(options[0].submission_dir).absolute())
    summary = (
        f"cancelled {len(cancelled)} jobs: {', '.join(cancelled)}" if cancelled else "nothing is queued or running"
    )
    console().print(summary, highlight=False, soft_wrap=True)
    return ["cancelled"] * len(cells)


def _outcomes(results: Sequence[Result]) -> list[str]:
    """Return the outcomes. Raises SystemExit where one is broken."""
    if any(result.record.outcome.broken for result in results):
        raise SystemExit(BROKEN)
    return [result.record.outcome.value for result in results]


def _start_importing(arguments: Sequence[str], cells: Sequence[Cell]) -> None:
    """Start the ranks' server, which imports while Hydra composes, if this process itself will measure a cell."""
    elsewhere = any(argument.startswith("hydra/launcher=") for argument in arguments)
    waiting = [cell for cell in cells if cell.action is Action.launch and not reuse.settled(cell)]
    if waiting and not elsewhere:
        server(waiting[0].gpu.device)
