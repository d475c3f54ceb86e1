"""The logs of ranks."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.identity import label


def tail(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log; empty where there is no log."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


def log_paths(cell: Cell, tag: str) -> list[Path]:
    """Return new paths for the ranks' logs: a log that still exists belongs to a cell that went wrong."""
    stem = f"{label(cell).replace(' ', '_').replace('=', '')}_{tag}"
    directory = Path(cell.profile_dir).absolute() / "logs"
    return [directory / f"{stem}_rank{rank}.log" for rank in range(cell.ranks * cell.nodes)]


def remove(logs: Sequence[Path]) -> None:
    """Remove the logs of a group that ended well."""
    for log in logs:
        log.unlink(missing_ok=True)
