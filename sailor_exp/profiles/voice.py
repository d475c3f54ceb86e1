"""Where a rank says what it is doing."""

from typing import Protocol


class Voice(Protocol):
    """The rank's word to its supervisor: one that says nothing for `stall_s` is taken for hung."""

    def progress(self, phase: str, steps: int = 0) -> None:
        """Say it to the supervisor."""

    def entering(self, phase: str) -> None:
        """Only remember it, for the case that it is the last phase."""
