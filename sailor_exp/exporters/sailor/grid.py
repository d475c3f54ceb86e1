"""Puts records into one grid of cells, tensor parallel degree by microbatch, each with its numbers by layer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.config.schema import GatherConfig
from sailor_exp.errors import RecordError
from sailor_exp.profiles.identity import asked_identity
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.layers.profile_file import ProfileFile
from sailor_exp.profiles.layers.published import CellKey, CellProfile, cell_profile, fits_in_memory
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome, Record
from sailor_exp.records.selection import refuse_strangers, select

PROFILE = "layers"
"""The profile whose records form the grid."""

MISSING = "missing"
"""Word for a cell without a record."""

_NAMED_VERSIONS = 3


def word(outcome: Outcome | None) -> str:
    """Return the word for the outcome of a cell; None is a cell without a record."""
    return MISSING if outcome is None else outcome.value


def settled(outcome: Outcome | None) -> bool:
    """Whether the outcome of a cell is final: the cell has numbers, or can have none."""
    return outcome is not None and not outcome.broken


class Reason(StrEnum):
    """Reason of a caution: records of another method or made with other software, or files that are no records."""

    method = "method"
    versions = "versions"
    profile_files = "profile files"


@dataclass(frozen=True, kw_only=True)
class Caution:
    """One warning about a grid."""

    reason: Reason
    text: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells of one model and GPU, and the warnings about them.

    `outcomes`: every cell with a record or profile file. `cells`: those with numbers. `foreign`: cells from profile
    files that another tool wrote; that tool writes no file where it runs out of memory. `records`: by cell, the file
    of the record that counts.
    """

    cells: Mapping[CellKey, CellProfile]
    outcomes: Mapping[CellKey, Outcome]
    records: Mapping[CellKey, Path]
    foreign: frozenset[CellKey]
    cautions: tuple[Caution, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The texts of the warnings."""
        return tuple(caution.text for caution in self.cautions)

    @property
    def tps(self) -> list[int]:
        return sorted({key.tp for key in self.outcomes})

    @property
    def microbatches(self) -> list[int]:
        return sorted({key.mbs for key in self.outcomes})

    def outcome(self, key: CellKey) -> Outcome | None:
        """Return the outcome of a cell; None where it has neither a record nor a profile file."""
        return self.outcomes.get(key)

    def without_numbers(self) -> set[CellKey]:
        """Return the cells that can have no numbers."""
        return {key for key, outcome in self.outcomes.items() if settled(outcome) and outcome is not Outcome.ok}

    def lost(self) -> dict[CellKey, Outcome | None]:
        """Return the cells of the grid that should have numbers and have none.

        A missing cell is excused where the memory can be the reason, and the grid comes from a tool that writes no
        file when it runs out of memory.
        """
        grid = (CellKey(tp, mbs) for tp in self.tps for mbs in self.microbatches)
        return {key: self.outcome(key) for key in grid if not settled(self.outcome(key)) and not self._excused(key)}

    def _excused(self, key: CellKey) -> bool:
        return bool(self.foreign) and key not in self.outcomes and not fits_in_memory(key, self.cells)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """The facts of a record that the grid needs, without its samples."""

    path: Path
    identity: Identity
    outcome: Outcome
    finished_at: str
    versions: Mapping[str, str | None]
    commit: str | None
    profile: CellProfile | None

    @property
    def key(self) -> CellKey:
        tp, mbs = self.identity.tp, self.identity.mbs
        if tp is None or mbs is None:
            raise RecordError(self.path, f"profile {self.identity.profile} without tp or mbs")
        return CellKey(tp=tp, mbs=mbs)


@dataclass
class _Cells:
    cells: dict[CellKey, CellProfile] = field(default_factory=dict)
    outcomes: dict[CellKey, Outcome] = field(default_factory=dict)


def grid_of(
    config: GatherConfig,
    records: Iterable[tuple[Path, Record[LayersMeasurement]]],
    profile_files: Iterable[ProfileFile],
) -> Grid:
    """Put records and profile files of other tools into one grid. A record takes precedence over such a file.

    Raises MixedRecordsError for a record of another configuration, LayerIdsError where its layer ids are not those of
    the model, and the errors of reading both.
    """
    asked = asked_identity(config, PROFILE)
    entries = [_entry(path, record) for path, record in records]
    refuse_strangers([(entry.path, entry.identity) for entry in entries], asked)
    for entry in entries:
        if entry.profile is not None:
            check_layer_ids(config.model, entry.profile.times, entry.path, "the record")
    selection = select(entries)
    cells = _Cells()
    for entry in selection.counting:
        cells.outcomes[entry.key] = entry.outcome
        if entry.profile is not None:
            cells.cells[entry.key] = entry.profile
    foreign, foreign_warnings = _add_foreign(cells, profile_files)
    if foreign:
        foreign_warnings.append(unknown_precision(config, f"{len(foreign)} cells come from profile files"))
    return Grid(
        cells=dict(sorted(cells.cells.items())),
        outcomes=dict(sorted(cells.outcomes.items())),
        records={entry.key: entry.path for entry in selection.counting},
        foreign=foreign,
        cautions=(
            *_cautions(Reason.method, selection.warnings(asked.method)),
            *_cautions(Reason.versions, _version_warnings(selection.counting)),
            *_cautions(Reason.profile_files, foreign_warnings),
        ),
    )


def unknown_precision(config: GatherConfig, cells: str) -> str:
    """Return the warning about cells without records, beside those of the configured precision."""
    unknown = f"{cells}: precision and optimizer are not known of them"
    if config.gpu.without_tf32:
        return unknown
    return (
        f"{unknown}. {config.gpu.name} may have multiplied in TF32, as in the published A100 data, which is several "
        f"times as fast as fp32; asked for is precision={config.precision.value}. Do not plan with both"
    )


def _cautions(reason: Reason, texts: Iterable[str]) -> Iterator[Caution]:
    return (Caution(reason=reason, text=text) for text in texts)


def _entry(path: Path, record: Record[LayersMeasurement]) -> _Entry:
    return _Entry(
        path=path,
        identity=record.identity,
        outcome=record.outcome,
        finished_at=record.finished_at,
        versions=record.provenance.versions,
        commit=record.provenance.commit,
        profile=_profile_of(path, record) if record.outcome is Outcome.ok else None,
    )


def _profile_of(path: Path, record: Record[LayersMeasurement]) -> CellProfile:
    try:
        return cell_profile(record.measured)
    except ValueError as error:
        raise RecordError(path, f"layers: {error}") from error


def _version_warnings(entries: Iterable[_Entry]) -> Iterator[str]:
    """Yield a warning for each package, or the commit, whose version differs among the records."""
    versions_of_records = [{"commit": entry.commit, **entry.versions} for entry in entries if entry.profile is not None]
    for name in dict.fromkeys(name for versions in versions_of_records for name in versions):
        counts: dict[str, int] = {}
        for versions in versions_of_records:
            version = versions.get(name) or "unknown"
            counts[version] = counts.get(version, 0) + 1
        if len(counts) > 1:
            by_count = sorted(counts.items(), key=lambda item: -item[1])
            first = ", ".join(f"{version} ({number} records)" for version, number in by_count[:_NAMED_VERSIONS])
            more = f" and {len(by_count) - _NAMED_VERSIONS} others" if len(by_count) > _NAMED_VERSIONS else ""
            yield f"the records were made with different {name}: {first}{more}"


def _add_foreign(cells: _Cells, files: Iterable[ProfileFile]) -> tuple[frozenset[CellKey], list[str]]:
    """Add the cells of profile files that have no record; return these cells, and warnings."""
    foreign, warnings = set(), []
    for file in files:
        known = file.key in cells.outcomes
        if file.profile is None:
            if not known:
                warnings.append(f"{file.path.name} was made from {file.record}, which is not there: left out")
        elif known:
            warnings.append(f"{file.path.name} was left out: a record holds {file.key}")
        else:
            cells.cells[file.key], cells.outcomes[file.key] = file.profile, Outcome.ok
            foreign.add(file.key)
    return frozenset(foreign), warnings
