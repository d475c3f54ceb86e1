"""What a rank process is started with. No torch here: the supervisor imports this, and must stay light."""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from sailor_exp.config import Cell


@dataclass(frozen=True, kw_only=True)
class Task:
    """The cells of one process group: equal but for the microbatch. `rendezvous` is a file that none has used."""

    cells: Sequence[Cell]
    rendezvous: Path
    logs: Sequence[Path]


def run_rank(rank: int, pipe: Connection, task: Task) -> None:
    """Entry of a rank process."""
    from sailor_exp.worker import run

    run(rank, pipe, task)
