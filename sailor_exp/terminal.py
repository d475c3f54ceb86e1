"""The terminal that the commands write to."""

from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 120


def console() -> Console:
    """Return the terminal, or a page wide enough for the tables where output goes elsewhere."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)
