"""The record: one versioned, validated document for each cell.

What stands before the record measures; what stands after it only reads. A record never changes. Raw samples are kept,
warm-up included; statistics are derived from them once, and kept beside them.

The record does not know the profiles: `Record[M]` holds what one profile measured, and M stands in that profile's
folder.
"""

from enum import StrEnum
from typing import Any, Final, Generic, Literal, Self, TypeVar

from pydantic import model_validator

from sailor_exp.records.base import Frozen
from sailor_exp.records.identity import Identity
from sailor_exp.records.provenance import Provenance

FORMAT: Final = "sailor-exp record"
VERSION: Final = 2
FIRST_VERSION: Final = 1

_AT_THE_TOP = ("layers", "statistics", "memory", "samples")
"""Keys that version 1 had beside `measurement`: the measurement of the profile layers, and the layers of others."""

M = TypeVar("M")


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
        """Whether something went wrong. All other outcomes are results."""
        return self in {Outcome.failed, Outcome.timeout}


class Ending(Frozen):
    """Why a cell has no numbers: the phase it ended in, the rank and signal where there was one, the log."""

    message: str
    phase: str | None = None
    rank: int | None = None
    signal: str | None = None
    log: str | None = None


class Record(Frozen, Generic[M]):
    """How one cell ended, and what it measured: M of the profile that `identity` names."""

    format: Literal["sailor-exp record"] = FORMAT
    version: Literal[2] = VERSION
    outcome: Outcome
    identity: Identity
    ending: Ending | None = None
    measurement: M | None = None
    provenance: Provenance

    @model_validator(mode="before")
    @classmethod
    def _from_version_1(cls, content: Any) -> Any:
        """Put what version 1 had at the top into the measurement."""
        if not isinstance(content, dict) or content.get("version", VERSION) != FIRST_VERSION:
            return content
        rest = {key: value for key, value in content.items() if key not in _AT_THE_TOP}
        at_the_top = {key: content[key] for key in _AT_THE_TOP if content.get(key) is not None}
        other = {key: value for key, value in (content.get("measurement") or {}).items() if key != "profile"}
        return {**rest, "version": VERSION, "measurement": {**at_the_top, **other} or None}

    @model_validator(mode="after")
    def _has_what_its_outcome_needs(self) -> Self:
        ok = self.outcome is Outcome.ok
        if ok and (self.measurement is None or self.ending is not None):
            raise ValueError("an ok record has what its profile measures, and no ending")
        if not ok and self.ending is None:
            raise ValueError("a record that is not ok says how it ended")
        return self

    @property
    def measured(self) -> M:
        """What an ok record measured. Raises ValueError for a record of another outcome."""
        if self.measurement is None:
            raise ValueError(f"the record {self.file_name} is {self.outcome}: it has no numbers")
        return self.measurement

    @property
    def finished_at(self) -> str:
        """Time in UTC at which the record was made, ISO 8601."""
        return self.provenance.finished_at

    @property
    def file_name(self) -> str:
        """Name of the record's file."""
        return self.identity.file_name
