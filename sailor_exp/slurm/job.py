"""Runs inside a job: checks the code and the GPUs of the job, and measures its cells."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import sailor_exp
from sailor_exp.config.schema import Cell
from sailor_exp.errors import SailorExpError
from sailor_exp.slurm.neighbours import sharing
from sailor_exp.slurm.rendezvous import of_this_task
from sailor_exp.sweep.display import LiveDisplay
from sailor_exp.sweep.machines import SeveralMachines
from sailor_exp.sweep.rank_group import server
from sailor_exp.sweep.sweep import assist, run
from sailor_exp.terminal import console

TERMINATED = 128 + signal.SIGTERM


class WrongGpusError(SailorExpError):
    """The job sees other GPUs than it asked for: a rank would share a GPU, or take a neighbour's."""

    def __init__(self, *, asked: int, visible: str | None) -> None:
        self.asked = asked
        self.visible = visible
        super().__init__(
            f"the job asked for {asked} GPUs; CUDA_VISIBLE_DEVICES is {visible!r}. "
            "Does the site's gres.conf or a line of hydra.launcher.setup change it?"
        )


class WrongCodeError(SailorExpError):
    """The job imported other code than the copy of its submission."""

    def __init__(self, *, asked: Path, found: Path) -> None:
        self.asked = asked
        self.found = found
        super().__init__(
            f"the job was submitted with the code in {asked} and runs {found}. "
            "Does a line of hydra.launcher.setup set PYTHONPATH, or is that directory not shared with the nodes?"
        )


def measure(cells: Sequence[Cell], *, code: Path, gpus: int | None, folder: Path) -> list[str]:
    """Measure the cells of a job, and return their outcomes; the record of each cell is written as soon as it ends.

    In a job on several nodes every task runs this function, and the first task writes the records. gpus: number that
    the job asked for on each node; None for none. folder: of the submission. Raises WrongCodeError, WrongGpusError,
    NoRendezvousError.
    """
    if cells[0].nodes == 1:
        return _measured(cells, code, gpus, None)
    machines = SeveralMachines(of_this_task(), folder / "machines", _run_of_job(os.environ))
    try:
        return _measured(cells, code, gpus, machines)
    except Exception as error:
        machines.tell_error(error)
        raise


def _measured(cells: Sequence[Cell], code: Path, gpus: int | None, machines: SeveralMachines | None) -> list[str]:
    check_code(code)
    check_gpus(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    _leave_ending_to_slurm(cells[0])
    if machines is not None and not machines.first:
        assist(cells, machines)
        return []
    with LiveDisplay(cells, console()) as display:
        return [result.record.outcome.value for result in run(cells, display, machines, sharing)]


def _run_of_job(variables: Mapping[str, str]) -> str:
    """Return the id of this run of a job, which differs from the id of the same job before it was requeued."""
    return f"{variables['SLURM_JOB_ID']}.{variables.get('SLURM_RESTART_COUNT', '0')}"


def check_code(expected: Path) -> None:
    """Raise WrongCodeError if this process runs other code than was submitted."""
    running = Path(sailor_exp.__file__).resolve().parent.parent
    if running != expected.resolve():
        raise WrongCodeError(asked=expected, found=running)


def check_gpus(asked: int | None, visible: str | None) -> None:
    """Raise WrongGpusError if more or fewer GPUs are visible than the job asked for."""
    devices = [device for device in (visible or "").split(",") if device]
    if asked is not None and len(devices) != asked:
        raise WrongGpusError(asked=asked, visible=visible)


def _leave_ending_to_slurm(cell: Cell) -> None:
    """Let ranks ignore SIGTERM, and let this process exit on it at once; measured cells have their records.

    SLURM sends SIGTERM to every process of a job that is cancelled, preempted or out of time. Ranks that died of it
    would cause a record of a rank killed by a signal; the real cause is SLURM's state of the job.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server(cell.gpu.device)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    print("ended by SLURM (SIGTERM); cells that are measured have their records", flush=True)
    raise SystemExit(TERMINATED)
