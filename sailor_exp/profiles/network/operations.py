"""The operations that a cell of the profile `network` runs, and their sizes."""

from enum import StrEnum

from sailor_exp.config.schema import Cell


class Operation(StrEnum):
    """What the ranks do together.

    `ring`: each rank sends to the next and receives from the one before, at once, as in a ring all-reduce.
    `pairs`: rank i of one machine sends to rank i of the other, all pairs at once.
    """

    ring = "ring"
    pairs = "pairs"
    all_reduce = "all_reduce"
    all_gather = "all_gather"
    reduce_scatter = "reduce_scatter"

    def bytes_on_the_link(self, size_bytes: float, ranks: int) -> float:
        """Return the bytes that the measured link carries for an operation on S = `size_bytes`.

        A link of a ring carries one message, the link between two machines the messages of all pairs. For collectives
        it is the numerator of the bus bandwidth: what a rank must send with any algorithm (NVIDIA/nccl-tests,
        doc/PERFORMANCE.md). S is then the whole vector that is reduced, gathered or scattered.
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
    """Return the operations of a cell: pairs between two machines, a ring in one; and the collectives."""
    return (Operation.pairs if cell.nodes > 1 else Operation.ring, *COLLECTIVES)


def sizes_bytes(cell: Cell) -> list[int]:
    """Return the powers of two from profile.least_bytes to profile.most_bytes, in bytes; there may be none."""
    least, most = cell.profile.least_bytes or 1, cell.profile.most_bytes or 0
    return [2**power for power in range((least - 1).bit_length(), most.bit_length())]
