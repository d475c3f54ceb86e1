"""What a rank process is started with. No torch here: the supervisor imports this, and must stay light."""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from sailor_exp.config import Cell
from sailor_exp.messages import Cause, Death


@dataclass(frozen=True, kw_only=True)
class Task:
    """The cells of one process group: equal but for the microbatch. `rendezvous` is a file that none has used."""

    cells: Sequence[Cell]
    rendezvous: Path
    logs: Sequence[Path]


def run_rank(rank: int, pipe: Connection, task: Task) -> None:
    """Entry of a rank process. A library that does not load is told, and not only to the terminal."""
    try:
        from sailor_exp.worker import run
    except (ImportError, OSError) as error:
        pipe.send(Death(cause=Cause.error, message=f"{type(error).__name__}: {error}", phase="importing"))
        raise
    run(rank, pipe, task)
