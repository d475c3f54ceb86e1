"""What `profile=oobleck` puts into a record."""

from sailor_exp.records.base import Count, Frozen


class ActivationMeasurement(Frozen):
    """Bytes that one rank keeps of a part for its backward, by kind of part; the largest of the ranks.

    `layers` maps each layer id of the model to a kind of part.
    """

    layers: dict[str, str]
    act_mem_bytes: dict[str, Count]
