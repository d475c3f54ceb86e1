"""What every part of a record is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Read and written whole: nothing unknown, nothing that is not a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


NonNegative = Annotated[float, Field(ge=0)]

Positive = Annotated[float, Field(gt=0)]

Count = Annotated[int, Field(ge=0)]
