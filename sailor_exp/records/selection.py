"""Which records belong together, and which of them counts. Everything that reads several records asks here.

Records belong together if they agree in everything that determines the numbers, but for what tells the cells of one
grid apart: the keys of the cell, the memory that a rank was given, and the profile's own options.

Of the records of one cell the newest result of the newest method counts. A record that failed or timed out says nothing
about the cell, so it counts only where there is no other.
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
    """A key in which a record differs from what is asked for; None for a key that one of them does not have."""

    key: str
    asked: object
    found: object


def differences(found: Identity, asked: Identity) -> Iterator[Difference]:
    """Return what keeps a record from belonging to what is asked for, key by key; nothing where it belongs."""
    ours, theirs = _facts(asked), _facts(found)
    for key in ours | theirs:
        if ours.get(key) != theirs.get(key):
            yield Difference(key=key, asked=ours.get(key), found=theirs.get(key))


def belongs(found: Identity, asked: Identity) -> bool:
    """Whether a record may stand in one file or table with what is asked for."""
    return next(differences(found, asked), None) is None


def refuse_strangers(found: Sequence[tuple[Path, Identity]], asked: Identity) -> None:
    """Raise MixedRecordsError for the first record that does not belong to what is asked for."""
    agreeing = next((path for path, identity in found if belongs(identity, asked)), None)
    for path, identity in found:
        for difference in differences(identity, asked):
            raise MixedRecordsError(
                path, key=difference.key, asked=difference.asked, found=difference.found, agreeing=agreeing
            )


@dataclass(frozen=True, kw_only=True)
class Selection(Generic[C]):
    """Of each cell the record that counts, by rising keys of the cell.

    `aside`: how many records of an older method were left out. `method`: the one that counts; None without records.
    """

    counting: tuple[C, ...]
    aside: int
    method: int | None

    def warnings(self, method: int) -> list[str]:
        """Return what to warn of. method: by which the profile measures now."""
        told = []
        if self.aside:
            told.append(
                f"{self.aside} records of an older method of measuring were left out: measure those cells again"
            )
        if self.method is not None and self.method < method:
            told.append(
                f"{len(self.counting)} records were measured by method {self.method}; method {method} measures now, "
                "and its numbers are not comparable: measure those cells again"
            )
        return told


def select(candidates: Iterable[C]) -> Selection[C]:
    """Choose of each cell the record that counts, among records that belong together.

    Of two that finished at the same time the later one counts.
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
    """Return what records must have in common, by the names that a user gives these keys."""
    return {
        **{f"gpu.{key}": value for key, value in identity.gpu.items() if key not in _OF_A_CELL},
        **{f"model.{key}": value for key, value in (identity.model or {}).items()},
        **{key: getattr(identity, key) for key in _ABOUT_THE_MODEL},
    }
