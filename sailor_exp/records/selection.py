"""Selects the records that belong together, and the one that counts for each cell. Readers of several records use it.

Records belong together if they agree in everything that determines the numbers, except for what distinguishes the cells
of one grid: the keys of the cell, the memory of a rank, and the profile's own options.

The newest result of the newest method counts for a cell. A record that failed or timed out has no information about the
cell, so it counts only if the newest method has no other record of the cell.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sailor_exp.errors import MixedRecordsError
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome

_ABOUT_THE_MODEL = ("precision", "optimizer", "attention")
_OF_A_CELL = {"memory_gb"}
"""Keys of the GPU that cells of one grid may differ in."""


class Candidate(Protocol):
    """A record, or what a reader keeps of it."""

    @property
    def identity(self) -> Identity: ...

    @property
    def outcome(self) -> Outcome: ...

    @property
    def finished_at(self) -> str: ...


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A key in which a record differs from what is asked for; None for a key that one of them lacks."""

    key: str
    asked: object
    found: object


def differences(recorded: Identity, asked: Identity) -> Iterator[Difference]:
    """Yield the keys in which a record does not belong to what is asked for; nothing where it belongs."""
    asked_facts, recorded_facts = _facts(asked), _facts(recorded)
    for key in asked_facts | recorded_facts:
        if asked_facts.get(key) != recorded_facts.get(key):
            yield Difference(key=key, asked=asked_facts.get(key), found=recorded_facts.get(key))


def belongs(recorded: Identity, asked: Identity) -> bool:
    """Whether a record may stand in one file or table with what is asked for."""
    return next(differences(recorded, asked), None) is None


def refuse_strangers(records: Sequence[tuple[Path, Identity]], asked: Identity) -> None:
    """Raise MixedRecordsError for the first record that does not belong to what is asked for."""
    agreeing = next((path for path, identity in records if belongs(identity, asked)), None)
    for path, identity in records:
        for difference in differences(identity, asked):
            raise MixedRecordsError(
                path, key=difference.key, asked=difference.asked, found=difference.found, agreeing=agreeing
            )


@dataclass(frozen=True, kw_only=True)
class Selection(Generic[C]):
    """The record that counts for each cell, by rising keys of the cell.

    `aside`: number of records of an older method, which are left out. `method`: the one that counts; None without
    records.
    """

    counting: tuple[C, ...]
    aside: int
    method: int | None

    def warnings(self, method: int) -> list[str]:
        """Return the warnings for the user. method: the profile's method of measuring now."""
        messages = []
        if self.aside:
            messages.append(
                f"{self.aside} records of an older method of measuring were left out: measure those cells again"
            )
        if self.method is not None and self.method < method:
            messages.append(
                f"{len(self.counting)} records were measured by method {self.method}; method {method} measures now, "
                "and its numbers are not comparable: measure those cells again"
            )
        return messages


def select(candidates: Iterable[C]) -> Selection[C]:
    """Choose the record that counts for each cell, among records that belong together.

    Of two records that finished at the same time, the later one in `candidates` counts.
    """
    records = list(candidates)
    newest = max((record.identity.method for record in records), default=None)
    counting: dict[tuple[tuple[str, int], ...], C] = {}
    for record in (record for record in records if record.identity.method == newest):
        cell = tuple(record.identity.cell_keys.items())
        if cell not in counting or _weight(counting[cell]) <= _weight(record):
            counting[cell] = record
    return Selection(
        counting=tuple(counting[cell] for cell in sorted(counting)),
        aside=sum(record.identity.method != newest for record in records),
        method=newest,
    )


def _weight(record: Candidate) -> tuple[bool, str]:
    return not record.outcome.broken, record.finished_at


def _facts(identity: Identity) -> dict[str, object]:
    """Return the values that records must have in common, under the names that a user gives these keys."""
    return {
        **{f"gpu.{key}": value for key, value in identity.gpu.items() if key not in _OF_A_CELL},
        **{f"model.{key}": value for key, value in (identity.model or {}).items()},
        **{key: getattr(identity, key) for key in _ABOUT_THE_MODEL},
    }
