"""What runs inside a job: the cells of one pack, with the code and on the GPUs that were asked for."""

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
    """SLURM gave other GPUs than the cell needs: a rank would share one, or take a neighbour's."""

    def __init__(self, *, asked: int, visible: str | None) -> None:
        self.asked = asked
        self.visible = visible
        super().__init__(
            f"the job asked for {asked} GPUs; CUDA_VISIBLE_DEVICES is {visible!r}. "
            "Does the site's gres.conf or a line of hydra.launcher.setup change it?"
        )


class WrongCodeError(SailorExpError):
    """The job imported other code than was copied at submission."""

    def __init__(self, *, asked: Path, found: Path) -> None:
        self.asked = asked
        self.found = found
        super().__init__(
            f"the job was submitted with the code in {asked} and runs {found}. "
            "Does a line of hydra.launcher.setup set PYTHONPATH, or is that directory not shared with the nodes?"
        )


def measure(cells: Sequence[Cell], *, code: Path, gpus: int | None, folder: Path) -> list[str]:
    """Measure the cells of a job and return their outcomes; each is in its record as soon as it is known.

    In a job on several nodes every task runs this, and the first makes the record. gpus: how many SLURM was asked for
    on each; None for none. folder: of the submission. Raises WrongCodeError, WrongGpusError, NoRendezvousError.
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
    """Return what tells this run of a job from every other one, also from one before it was requeued."""
    return f"{variables['SLURM_JOB_ID']}.{variables.get('SLURM_RESTART_COUNT', '0')}"


def check_code(expected: Path) -> None:
    """Refuse to run other code than was submitted. Raises WrongCodeError."""
    found = Path(sailor_exp.__file__).resolve().parent.parent
    if found != expected.resolve():
        raise WrongCodeError(asked=expected, found=found)


def check_gpus(asked: int | None, visible: str | None) -> None:
    """Refuse to run on more or fewer GPUs than were asked for. Raises WrongGpusError."""
    given = [device for device in (visible or "").split(",") if device]
    if asked is not None and len(given) != asked:
        raise WrongGpusError(asked=asked, visible=visible)


def _leave_ending_to_slurm(cell: Cell) -> None:
    """Have ranks ignore SIGTERM, and leave at once on it with what is measured.

    SLURM sends it to every process of a job that is cancelled, preempted or out of time. Ranks that died of it would
    make a record of a rank killed by a signal; why the job ended is SLURM's to tell.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server(cell.gpu.device)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    print("ended by SLURM (SIGTERM); cells that are measured have their records", flush=True)
    raise SystemExit(TERMINATED)
