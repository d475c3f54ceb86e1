"""The terminal that the commands write to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 120


def console() -> "Console":
    """Return the terminal; where output goes elsewhere, a page that is wide enough for the tables."""
    from rich.console import Console

    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of words in columns, two spaces apart: they look the same in a terminal and in a file."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = (zip(line, widths, strict=True) for line in lines)
    return "\n".join("  ".join(word.ljust(width) for word, width in line).rstrip() for line in padded)
