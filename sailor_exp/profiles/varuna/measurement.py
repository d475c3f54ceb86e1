"""What `profile=varuna` puts into a record."""

from sailor_exp.records.base import Count, Frozen


class PeakMeasurement(Frozen):
    """Peak bytes of one rank that holds one part alone, by kind of part; the largest of the ranks.

    `layers` maps each layer id of the model to a kind of part. `lasting_bytes`: what the rank holds between steps:
    parameters, optimizer states, and gradients that are not dropped.
    """

    layers: dict[str, str]
    peak_bytes: dict[str, Count]
    lasting_bytes: dict[str, Count]
