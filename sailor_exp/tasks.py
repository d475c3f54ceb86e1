"""What a rank process is started with. No torch here: the supervisor imports this, and must stay light."""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from sailor_exp.config import Cell
from sailor_exp.messages import Cause, Death


@dataclass(frozen=True, kw_only=True)
class Task:
    """The cells of one process group: equal but for the microbatch.

    init_method: of torch.distributed, where no other group has met. first_rank: of those that this machine runs;
    `logs` has a path for each of these.
    """

    cells: Sequence[Cell]
    init_method: str
    logs: Sequence[Path]
    first_rank: int = 0


def run_rank(rank: int, pipe: Connection, task: Task) -> None:
    """Entry of a rank process; `rank` counts in this machine.

    A library that does not load is told, and not only to the terminal.
    """
    try:
        from sailor_exp.worker import run
    except (ImportError, OSError) as error:
        pipe.send(Death(cause=Cause.error, message=f"{type(error).__name__}: {error}", phase="importing"))
        raise
    run(rank, pipe, task)
