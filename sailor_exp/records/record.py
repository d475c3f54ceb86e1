"""The record: one versioned, validated document for each cell.

`launch.py` measures and writes records; `gather.py` only reads them. A record never changes. It keeps the raw samples,
warm-up included, and beside them the statistics, which are derived from the samples once.

This module imports no profile: `Record[M]` holds the measurement of one profile, and that profile's folder defines M.
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
"""Keys that version 1 had beside `measurement`: all of `layers`' measurement, and the layer ids of other profiles."""

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
        """Whether the cell failed or timed out. All other outcomes are results."""
        return self in {Outcome.failed, Outcome.timeout}


class Ending(Frozen):
    """Why a cell has no numbers: the phase in which it ended, the rank and the signal if there was one, the log."""

    message: str
    phase: str | None = None
    rank: int | None = None
    signal: str | None = None
    log: str | None = None


class Record(Frozen, Generic[M]):
    """How one cell ended, and its measurement: M of the profile that `identity` names."""

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
        """Move the keys that version 1 had at the top into the measurement."""
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
        """Measurement of an ok record. Raises ValueError for a record of another outcome."""
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
