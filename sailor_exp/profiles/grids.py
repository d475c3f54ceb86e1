"""Grids of cells, as data: what readers of a profile need, and what messages advise."""

from collections.abc import Mapping, Sequence

Grid = Mapping[str, Sequence[int]]
"""Values by key of CELL_KEYS. Every combination is a cell; a key that is not there has its default."""


def groups_within(vm: int, *, least_ranks: int) -> list[int]:
    """Return the ranks of groups inside a machine of `vm` GPUs, by powers of two."""
    return [count for count in powers_up_to(vm) if count >= least_ranks]


def powers_up_to(gpus: int) -> list[int]:
    """Return the powers of two up to the GPUs of a machine, and their number."""
    return sorted({*halvings(gpus), gpus})


def halvings(largest: int) -> list[int]:
    """Return the powers of two up to a number, in rising order."""
    return [2**power for power in range(largest.bit_length())]
