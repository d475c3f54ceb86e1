"""What the profiles but `layers` put into a record, by the name of the profile.

Each is a part of the record, so the same holds: versioned with it, never changed, raw samples beside what is derived.
"""

from typing import Annotated, Literal

from pydantic import Field

from sailor_exp.check_samples import CheckMeasurement
from sailor_exp.frozen import Count, Frozen
from sailor_exp.network_samples import NetworkMeasurement, OverlapMeasurement


class PeakMeasurement(Frozen):
    """Peak bytes of one rank that holds one part alone, by kind of part; the largest of the ranks.

    `lasting_bytes`: what it holds between steps, parameters, gradients as far as they stay, and optimizer states.
    """

    profile: Literal["varuna"] = "varuna"
    peak_bytes: dict[str, Count]
    lasting_bytes: dict[str, Count]


class ActivationMeasurement(Frozen):
    """Bytes that one rank keeps of a part for its backward, by kind of part; the largest of the ranks."""

    profile: Literal["oobleck"] = "oobleck"
    act_mem_bytes: dict[str, Count]


class StageMemory(Frozen):
    """Bytes of one rank in a training step whose optimizer has its states.

    `model_states_bytes`: parameters, gradients and optimizer states, after the backward. `activation_bytes`: what the
    forward left. `activation_peak_bytes`: the highest of forward and backward, above the model states.
    """

    model_states_bytes: Count
    activation_bytes: Count
    activation_peak_bytes: Count


class StagesMeasurement(Frozen):
    """Models of a few transformer layers at one sample: by their number of layers, one entry a rank."""

    profile: Literal["galvatron"] = "galvatron"
    by_num_layers: dict[str, list[StageMemory]]


Measurement = Annotated[
    PeakMeasurement
    | ActivationMeasurement
    | StagesMeasurement
    | NetworkMeasurement
    | OverlapMeasurement
    | CheckMeasurement,
    Field(discriminator="profile"),
]
"""One of the above."""
