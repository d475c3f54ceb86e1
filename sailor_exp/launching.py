"""The command `launch.py`: from a command line to records, and to an exit status.

0: every cell has a result, running out of memory included. 1: a cell failed or timed out. 2: the command was
wrong, and nothing was started. 130: interrupted; what was measured is there.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

import hydra
from omegaconf import DictConfig

from sailor_exp import command_line, sweep
from sailor_exp.config import Cell, cell_from, faults, grid_faults, register
from sailor_exp.display import LiveDisplay, console, print_results
from sailor_exp.errors import ConfigurationError, SailorExpError
from sailor_exp.ranks import server

BROKEN, WRONG, INTERRUPTED = 1, 2, 130


def _run_grid(configs: Sequence[DictConfig]) -> list[str]:
    """Measure the cells of composed configurations; returns their outcomes.

    Raises SystemExit, which Hydra lets through without a traceback, for whatever ends the sweep early and where a
    cell is broken.
    """
    cells = [cell_from(config) for config in configs]
    page = console()
    try:
        _refuse(grid_faults(cells))
        with LiveDisplay(cells, page) as display:
            results = sweep.run(cells, display)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        raise SystemExit(WRONG) from error
    except SailorExpError as error:
        raise SystemExit(str(error)) from error
    print_results(results, page)
    if any(result.record.outcome.broken for result in results):
        raise SystemExit(BROKEN)
    return [result.record.outcome.value for result in results]


def _refuse(found: Sequence[str]) -> None:
    """Raise ConfigurationError for faults: the check of the command line does not see every way to compose."""
    if found:
        raise ConfigurationError(found)


def _run_one(config: DictConfig) -> str:
    return _run_grid([config])[0]


_run_one.run_grid = _run_grid  # type: ignore[attr-defined]  # the launcher plugin's contract


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    register()
    given = list(sys.argv[1:] if arguments is None else arguments)
    cells: list[Cell] = []

    def judged(config: DictConfig) -> list[str]:
        cells.append(cell_from(config))
        return faults(cells[-1])

    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        sys.argv[1:] = command_line.checked(given, replace(command_line.LAUNCH, faults=judged))
        _refuse(grid_faults(cells))
        _start_importing(given, cells)
        hydra.main(version_base="1.3", config_path=str(command_line.CONF), config_name="launch")(_run_one)()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return WRONG
    except SailorExpError as error:
        print(error, file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from what was measured", file=sys.stderr)
        return INTERRUPTED
    return 0


def _start_importing(arguments: Sequence[str], cells: Sequence[Cell]) -> None:
    """Let the ranks' server import while Hydra composes, where this process will measure anything itself."""
    elsewhere = any(argument.startswith("hydra/launcher=") for argument in arguments)
    waiting = [cell for cell in cells if not sweep.settled(cell)]
    if waiting and not elsewhere:
        server(waiting[0].gpu.device)
