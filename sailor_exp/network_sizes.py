"""What a cell of the profile `network` runs, and on which sizes."""

from sailor_exp.config import Cell
from sailor_exp.network_samples import Operation

FLOAT_BYTES = 4
_COLLECTIVES = (Operation.all_reduce, Operation.all_gather, Operation.reduce_scatter)


def operations(cell: Cell) -> tuple[Operation, ...]:
    """Return what the cell's ranks do together: between two machines pairs, in one a ring; and the collectives."""
    return (Operation.pairs if cell.nodes > 1 else Operation.ring, *_COLLECTIVES)


def sizes_bytes(cell: Cell) -> list[int]:
    """Powers of two from profile.least_bytes to profile.most_bytes; none where there is none between them."""
    least, most = cell.profile.least_bytes or 1, cell.profile.most_bytes or 0
    return [2**power for power in range((least - 1).bit_length(), most.bit_length())]
