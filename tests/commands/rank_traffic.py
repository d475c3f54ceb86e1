"""What a rank does, seen from outside."""

from collections.abc import Sequence

import psutil

from tests.conftest import Sweep

EXCHANGED = 2**20
"""Bytes that only a rank has written that talks with its peers over and over."""


def wait_until_they_talk(sweep: Sweep, ranks: Sequence[psutil.Process]) -> None:
    """Wait until the ranks of a group have joined it, and measure."""
    sweep.wait_for(lambda: all(rank.io_counters().write_chars > EXCHANGED for rank in ranks))
