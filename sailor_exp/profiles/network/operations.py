"""What a cell of the profile `network` runs, and on which sizes."""

from enum import StrEnum

from sailor_exp.config.schema import Cell


class Operation(StrEnum):
    """What the ranks do together.

    `ring`: each sends to its next neighbour and receives from the one before, at once, as a ring all-reduce does.
    `pairs`: rank i of one machine sends to rank i of the other, all pairs at once.
    """

    ring = "ring"
    pairs = "pairs"
    all_reduce = "all_reduce"
    all_gather = "all_gather"
    reduce_scatter = "reduce_scatter"

    def bytes_on_the_link(self, size_bytes: float, ranks: int) -> float:
        """Return the bytes that the measured link carries for an operation on S bytes.

        A ring's link carries one message, the link between two machines those of all pairs. For collectives it is
        the bus bandwidth's numerator: what a rank has to send, whatever the algorithm (NVIDIA/nccl-tests,
        doc/PERFORMANCE.md). S is then the whole vector: what is reduced, gathered or scattered.
        """
        return (
            size_bytes
            * {
                Operation.ring: 1.0,
                Operation.pairs: ranks / 2,
                Operation.all_reduce: 2 * (ranks - 1) / ranks,
                Operation.all_gather: (ranks - 1) / ranks,
                Operation.reduce_scatter: (ranks - 1) / ranks,
            }[self]
        )


FLOAT_BYTES = 4

COLLECTIVES = (Operation.all_reduce, Operation.all_gather, Operation.reduce_scatter)


def operations(cell: Cell) -> tuple[Operation, ...]:
    """Return what the cell's ranks do together: between two machines pairs, in one a ring; and the collectives."""
    return (Operation.pairs if cell.nodes > 1 else Operation.ring, *COLLECTIVES)


def sizes_bytes(cell: Cell) -> list[int]:
    """Powers of two from profile.least_bytes to profile.most_bytes; none where there is none between them."""
    least, most = cell.profile.least_bytes or 1, cell.profile.most_bytes or 0
    return [2**power for power in range((least - 1).bit_length(), most.bit_length())]
