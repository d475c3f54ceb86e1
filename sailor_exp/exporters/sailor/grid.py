"""From records to one table of cells, tensor parallel degree by microbatch by layer.

Only what belongs together is put together: one model and GPU, one precision, optimizer and attention kernel.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.config.schema import GatherConfig, plain
from sailor_exp.errors import MixedRecordsError, RecordError
from sailor_exp.profiles.layers.profile_file import ProfileFile
from sailor_exp.profiles.layers.published import MEMORY_KEYS, CellKey, CellProfile, PhaseTimes
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome, Record

PROFILE = "layers"
"""The profile whose records the table is made of; others stand in the same directory."""

_NAMED_VERSIONS = 3


class State(StrEnum):
    """What is known of a cell of the grid: how its record ended, or that there is none."""

    ok = "ok"
    oom = "oom"
    skipped = "skipped"
    infeasible = "infeasible"
    failed = "failed"
    timeout = "timeout"
    missing = "missing"

    @property
    def settled(self) -> bool:
        """Whether measuring has told what there is to tell: numbers, or that there can be none."""
        return self not in {State.failed, State.timeout, State.missing}


class Reason(StrEnum):
    """What a table warns of: records of another method, made with other software, or files that are no records."""

    method = "method"
    versions = "versions"
    profile_files = "profile files"


@dataclass(frozen=True, kw_only=True)
class Caution:
    """One thing that a table warns of."""

    reason: Reason
    text: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cells of one model and GPU, and what to warn of.

    `states` has every cell that a record or profile file speaks of, `cells` those with numbers. `foreign`: cells
    from profile files that another tool wrote; that tool leaves no file where it ran out of memory. `records`: of each
    cell the record that counts.
    """

    cells: Mapping[CellKey, CellProfile]
    states: Mapping[CellKey, State]
    records: Mapping[CellKey, Path]
    foreign: frozenset[CellKey]
    cautions: tuple[Caution, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to warn of, as text."""
        return tuple(caution.text for caution in self.cautions)

    @property
    def tps(self) -> list[int]:
        return sorted({key.tp for key in self.states})

    @property
    def microbatches(self) -> list[int]:
        return sorted({key.mbs for key in self.states})

    def state(self, key: CellKey) -> State:
        """Return the state of a cell of the grid."""
        return self.states.get(key, State.missing)

    def without_numbers(self) -> set[CellKey]:
        """Cells that were settled without numbers: none will come."""
        return {key for key, state in self.states.items() if state.settled and state is not State.ok}

    def lost(self) -> dict[CellKey, State]:
        """Cells of the grid that should have numbers and have none.

        A cell without a file is excused where the grid was measured by a tool that leaves none when it runs out of
        memory, and memory can have been the reason: nothing that needs more of it was measured.
        """
        return {
            key: state
            for key in (CellKey(tp, mbs) for tp in self.tps for mbs in self.microbatches)
            if not (state := self.state(key)).settled and not self._excused(key)
        }

    def _excused(self, key: CellKey) -> bool:
        return bool(self.foreign) and key not in self.states and may_be_out_of_memory(key, self.cells)


def may_be_out_of_memory(key: CellKey, measured: Iterable[CellKey]) -> bool:
    """Whether no cell was measured that needs at least as much memory: no smaller tp with no smaller microbatch."""
    return not any(other.tp <= key.tp and other.mbs >= key.mbs for other in measured)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What the table needs of a record, without its samples."""

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
    states: dict[CellKey, State] = field(default_factory=dict)


def table_of(
    config: GatherConfig, records: Iterable[tuple[Path, Record]], profile_files: Iterable[ProfileFile]
) -> Table:
    """Put records and profile files of other tools into one table. A record counts more than such a file.

    Raises MixedRecordsError for a record of another model, GPU, precision, optimizer or attention kernel than the
    configured, LayerIdsError where its layer ids are not those of the model; and what reading them raises.
    """
    asked = _asked(config)
    entries = [_entry(path, record) for path, record in records if record.identity.profile == PROFILE]
    _refuse_mixed(entries, asked)
    for entry in entries:
        if entry.profile is not None:
            check_layer_ids(config.model, entry.profile.times, entry.path, "the record")
    counting, warnings = _counting(entries)
    found = _Cells()
    for entry in counting:
        found.states[entry.key] = State(entry.outcome.value)
        if entry.profile is not None:
            found.cells[entry.key] = entry.profile
    foreign, foreign_warnings = _add_foreign(found, list(profile_files))
    return Table(
        cells=dict(sorted(found.cells.items())),
        states=dict(sorted(found.states.items())),
        records={entry.key: entry.path for entry in counting},
        foreign=foreign,
        cautions=(
            *_cautions(Reason.method, warnings),
            *_cautions(Reason.versions, _version_warnings(counting)),
            *_cautions(Reason.profile_files, foreign_warnings),
        ),
    )


def _cautions(reason: Reason, texts: Iterable[str]) -> Iterator[Caution]:
    return (Caution(reason=reason, text=text) for text in texts)


def _entry(path: Path, record: Record) -> _Entry:
    return _Entry(
        path=path,
        identity=record.identity,
        outcome=record.outcome,
        finished_at=record.provenance.finished_at,
        versions=record.provenance.versions,
        commit=record.provenance.commit,
        profile=_profile_of(path, record),
    )


def _profile_of(path: Path, record: Record) -> CellProfile | None:
    """Each layer id with the numbers of the kind that stands for it, or None for a record without numbers."""
    if record.layers is None or record.statistics is None or record.memory is None:
        return None
    kinds = {
        kind: PhaseTimes(phases.forward.value_s, phases.backward.value_s, phases.update.value_s)
        for kind, phases in record.statistics.kinds.items()
    }
    counts = {kind: {key: getattr(memory, key) for key in MEMORY_KEYS} for kind, memory in record.memory.kinds.items()}
    if strange := [
        layer for layer, kind in record.layers.items() if not layer.isdigit() or kind not in kinds.keys() & counts
    ]:
        raise RecordError(path, f"layers: no numbers stand for layer {strange[0]!r}")
    layers = sorted((int(layer), kind) for layer, kind in record.layers.items())
    return CellProfile(
        times={layer: kinds[kind] for layer, kind in layers}, memory={layer: counts[kind] for layer, kind in layers}
    )


def _refuse_mixed(entries: Iterable[_Entry], asked: dict[str, object]) -> None:
    agreeing: Path | None = None
    strays: list[tuple[Path, dict[str, object]]] = []
    for entry in entries:
        found = _found(entry.identity)
        if found == asked:
            agreeing = agreeing or entry.path
        else:
            strays.append((entry.path, found))
    for path, found in strays:
        key = next(key for key in asked | found if asked.get(key) != found.get(key))
        raise MixedRecordsError(path, key=key, asked=asked.get(key), found=found.get(key), agreeing=agreeing)


def _asked(config: GatherConfig) -> dict[str, object]:
    gpu = plain(config.gpu)
    return {
        **{f"gpu.{key}": gpu[key] for key in ("name", "device", "backend")},
        **{f"model.{key}": value for key, value in plain(config.model).items()},
        "precision": config.precision.value,
        "optimizer": config.optimizer.value,
        "attention": config.attention.value,
    }


def _found(identity: Identity) -> dict[str, object]:
    return {
        **{f"gpu.{key}": value for key, value in identity.gpu.items() if key != "memory_gb"},
        **{f"model.{key}": value for key, value in (identity.model or {}).items()},
        "precision": identity.precision,
        "optimizer": identity.optimizer,
        "attention": identity.attention,
    }


def _counting(entries: Sequence[_Entry]) -> tuple[list[_Entry], list[str]]:
    """Of the records of one cell the newest of the newest method; the others measured something else, or before."""
    counting: dict[CellKey, _Entry] = {}
    newest = max((entry.identity.method for entry in entries), default=0)
    aside = 0
    for entry in entries:
        if entry.identity.method < newest:
            aside += 1
        elif entry.key not in counting or counting[entry.key].finished_at < entry.finished_at:
            counting[entry.key] = entry
    old = f"{aside} records of an older method of measuring were left out: measure those cells again"
    return list(counting.values()), [old] if aside else []


def _version_warnings(entries: Iterable[_Entry]) -> Iterator[str]:
    """What the records of one table were made with, where that differs."""
    measured = [entry for entry in entries if entry.profile is not None]
    made_with = [{"commit": entry.commit, **entry.versions} for entry in measured]
    for name in dict.fromkeys(name for facts in made_with for name in facts):
        counts: dict[str, int] = {}
        for facts in made_with:
            version = facts.get(name) or "unknown"
            counts[version] = counts.get(version, 0) + 1
        if len(counts) > 1:
            named = sorted(counts.items(), key=lambda item: -item[1])
            told = ", ".join(f"{version} ({number} records)" for version, number in named[:_NAMED_VERSIONS])
            more = f" and {len(named) - _NAMED_VERSIONS} others" if len(named) > _NAMED_VERSIONS else ""
            yield f"the records were made with different {name}: {told}{more}"


def _add_foreign(found: _Cells, files: Iterable[ProfileFile]) -> tuple[frozenset[CellKey], list[str]]:
    """Add cells of profile files that no record speaks of."""
    foreign, warnings = set(), []
    for file in files:
        known = file.key in found.states
        if file.profile is None:
            if not known:
                warnings.append(f"{file.path.name} was made from {file.record}, which is not there: left out")
        elif known:
            warnings.append(f"{file.path.name} was left out: a record speaks of {file.key}")
        else:
            found.cells[file.key], found.states[file.key] = file.profile, State.ok
            foreign.add(file.key)
    if foreign:
        warnings.append(f"{len(foreign)} cells come from profile files: precision and optimizer are not known of them")
    return frozenset(foreign), warnings
