"""The waist of the project: one versioned, validated record a cell.

Everything before it measures, everything after it only reads.

A record is never changed. Samples are raw, warm-up included; statistics and layer tables are derived from them
when the record is made, and kept beside them.

Legend: T ranks, N steps, warm-up first.
"""

from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import model_validator

from sailor_exp.profiles.layers.measurement import Memory, Samples, Statistics
from sailor_exp.records.base import Frozen
from sailor_exp.records.identity import Identity, file_name
from sailor_exp.records.measurements import Measurement
from sailor_exp.records.provenance import Provenance

FORMAT: Final = "sailor-exp record"

VERSION: Final = 1


class Outcome(StrEnum):
    """How a cell ended."""

    ok = "ok"
    oom = "oom"
    failed = "failed"
    timeout = "timeout"
    skipped = "skipped"
    infeasible = "infeasible"

    @property
    def broken(self) -> bool:
        """Whether something went wrong, where the others are results."""
        return self in {Outcome.failed, Outcome.timeout}


class Ending(Frozen):
    """Why a cell has no numbers: the phase it ended in, the rank and signal where there was one, the log."""

    message: str
    phase: str | None = None
    rank: int | None = None
    signal: str | None = None
    log: str | None = None


class Record(Frozen):
    """How one cell ended, and what it measured. `layers` maps each layer id of the model to a kind of part.

    `statistics`, `memory` and `samples` are what the profile `layers` measures, `measurement` what another one does.
    """

    format: Literal["sailor-exp record"] = FORMAT
    version: Literal[1] = VERSION
    outcome: Outcome
    identity: Identity
    ending: Ending | None
    layers: dict[str, str] | None
    statistics: Statistics | None
    memory: Memory | None
    samples: Samples | None
    measurement: Measurement | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _has_what_its_outcome_needs(self) -> Self:
        of_layers = None not in (self.layers, self.statistics, self.memory, self.samples)
        of_another = self.measurement is not None and self.measurement.profile == self.identity.profile
        measured = of_layers if self.identity.profile == "layers" else of_another
        if self.outcome is Outcome.ok and not (measured and self.ending is None):
            raise ValueError("an ok record has what its profile measures, and no ending")
        if self.outcome is not Outcome.ok and self.ending is None:
            raise ValueError("a record that is not ok says how it ended")
        return self

    @property
    def file_name(self) -> str:
        """Name of the record's file."""
        return file_name(self.identity)
