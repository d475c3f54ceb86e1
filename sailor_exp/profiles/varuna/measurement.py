"""What `profile=varuna` puts into a record."""

from typing import Literal

from sailor_exp.records.base import Count, Frozen


class PeakMeasurement(Frozen):
    """Peak bytes of one rank that holds one part alone, by kind of part; the largest of the ranks.

    `lasting_bytes`: what it holds between steps, parameters, gradients as far as they stay, and optimizer states.
    """

    profile: Literal["varuna"] = "varuna"
    peak_bytes: dict[str, Count]
    lasting_bytes: dict[str, Count]
