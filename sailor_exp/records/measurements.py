"""What the profiles but `layers` put into a record, by the name of the profile.

Each is a part of the record, so the same holds: versioned with it, never changed, raw samples beside what is derived.
"""

from typing import Annotated

from pydantic import Field

from sailor_exp.profiles.check.measurement import CheckMeasurement
from sailor_exp.profiles.galvatron.measurement import StagesMeasurement
from sailor_exp.profiles.network.measurement import NetworkMeasurement
from sailor_exp.profiles.oobleck.measurement import ActivationMeasurement
from sailor_exp.profiles.overlap.measurement import OverlapMeasurement
from sailor_exp.profiles.varuna.measurement import PeakMeasurement

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
