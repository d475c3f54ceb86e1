"""The waist of the project: one versioned, validated record a cell.

Everything before it measures, everything after it only reads.

A record is never changed. Samples are raw, warm-up included; statistics and layer tables are derived from them
when the record is made, and kept beside them.

Legend: T ranks, N steps, warm-up first.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import ValidationError, model_validator

from sailor_exp.config import CELL_KEYS
from sailor_exp.errors import RecordError
from sailor_exp.frozen import Count, Frozen, NonNegative
from sailor_exp.measurements import Measurement
from sailor_exp.samples import Samples, Timing
from sailor_exp.storage import make_directory, remove_unfinished, write_whole

FORMAT: Final = "sailor-exp record"
VERSION: Final = 1
METHOD = 2
"""What the timers bracket. Raised when the same identity would no longer give the same numbers."""


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


class Identity(Frozen):
    """Everything that determines the numbers of a cell; None for what the profile has no use for.

    `model` holds Megatron's keys of the architecture, `options` those of the profile itself.
    """

    method: int
    profile: str
    model: dict[str, Any] | None
    gpu: dict[str, Any]
    pp: int | None = None
    tp: int | None
    mbs: int | None
    num_microbatches: int | None = None
    ranks: int | None = None
    nodes: int | None = None
    precision: str | None
    optimizer: str | None
    attention: str | None
    options: dict[str, Any] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of what the profile has a use for, in hexadecimal."""
        used = {key: value for key, value in self.model_dump().items() if value is not None}
        canonical = json.dumps(used, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def cell_keys(self) -> dict[str, int]:
        """The keys of CELL_KEYS that the profile has a use for."""
        return {key: value for key in CELL_KEYS if (value := getattr(self, key)) is not None}

    @property
    def subject(self) -> str:
        """Name of the model; of a profile that knows none its own."""
        return str(self.model["name"]) if self.model is not None else self.profile


class KindStatistics(Frozen):
    """Timing of the phases of one kind of part, and its share of DeepSpeed's overhead around the update.

    `accumulate`: what a microbatch after the first adds to the backward; None where that is not told apart.
    """

    forward: Timing
    backward: Timing
    update: Timing
    overhead: Timing
    accumulate: Timing | None = None


class Statistics(Frozen):
    """What the samples say. `converged`: the interval of the calibrated step reached `target` in `steps` steps."""

    steps: Count
    converged: bool
    target: NonNegative
    relative_half_width: NonNegative | None
    step: Timing
    kinds: dict[str, KindStatistics]


class PartMemory(Frozen):
    """Memory of one kind of part on one rank, for the cell's whole microbatch.

    Elements and bytes of parameters, of the tensors that enter the part (`act_input`), that it hands on
    (`act_output`; for the head: logits and loss), and that it keeps for its backward (`act_mem`). Peaks are bytes
    above what was allocated when the phase began.
    """

    params_floats: Count
    act_output_floats: Count
    act_input_floats: Count
    act_mem_floats: Count
    params_bytes: Count
    act_output_bytes: Count
    act_input_bytes: Count
    act_mem_bytes: Count
    peak_forward_bytes: Count
    peak_backward_bytes: Count
    peak_update_bytes: Count


class Memory(Frozen):
    """Memory of a rank that holds the chain of parts; the largest of the ranks.

    `peak_bytes`: parameters, gradients, optimizer states and activations at the highest moment of a step.
    `reserved_bytes` and `device_used_bytes` are the allocator's and the device's own figures, None where there is
    none to ask.
    """

    kinds: dict[str, PartMemory]
    peak_bytes: Count
    reserved_bytes: Count | None
    device_used_bytes: Count | None


class DeviceFacts(Frozen):
    """The device of one rank, as its driver names it, and the libraries that drive it; None for what is not there."""

    name: str
    uuid: str | None
    driver: str | None
    memory_bytes: Count | None
    clock_mhz: dict[str, int | None]
    cuda: str | None = None
    nccl: str | None = None


class Provenance(Frozen):
    """Where, when and with what a record was made."""

    commit: str | None
    dirty: bool | None
    host: str
    devices: list[DeviceFacts]
    cpu: str
    cpu_cores: int
    threads_per_rank: int
    versions: dict[str, str | None]
    started_at: str
    finished_at: str
    slurm: dict[str, str]
    sampling: dict[str, Any]


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


def file_name(identity: Identity) -> str:
    """Name of the file of a cell's record. For people: everything in it stands inside the record too."""
    about = [identity.profile, identity.subject] if identity.model is not None else [identity.profile]
    keys = [f"{key}{value}" for key, value in identity.cell_keys.items()]
    return "_".join([*about, identity.gpu["name"], *keys, identity.digest[:12]]) + ".json"


def records_directory(profile_dir: Path) -> Path:
    """Where the records of a profile directory lie."""
    return profile_dir / "records"


def prepare(profile_dir: Path) -> None:
    """Make the directories of a sweep, and clear what writers that were killed left in them.

    Raises StorageError before anything is measured that could not be kept.
    """
    records = records_directory(profile_dir)
    for directory in (profile_dir, records, records / "superseded", profile_dir / "logs"):
        make_directory(directory)
        remove_unfinished(directory)


def write(record: Record, profile_dir: Path) -> Path:
    """Write the record whole; a measured one that it replaces is kept under `superseded/`.

    Raises StorageError.
    """
    path = records_directory(profile_dir) / record.file_name
    if path.exists() and (former := read(path)).outcome is Outcome.ok:
        stamp = former.provenance.finished_at.replace(":", "")
        write_whole(path.parent / "superseded" / f"{path.stem}_{stamp}.json", path.read_bytes())
    write_whole(path, _lines(record.model_dump(mode="json")))
    return path


def read(path: Path) -> Record:
    """Read and validate one record.

    Raises RecordError for a file that is damaged, foreign, or of a version that this code does not know.
    """
    try:
        text = path.read_bytes()
        content = json.loads(text, parse_constant=_refuse_constant) if text.strip() else None
    except OSError as error:
        raise RecordError(path, f"cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(path, f"is not JSON, or was cut off: {error}") from error
    except ValueError as error:
        raise RecordError(path, f"holds what no record may: {error}") from error
    if content is None:
        raise RecordError(path, "is empty")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RecordError(path, f"is not a {FORMAT}")
    if content.get("version") != VERSION:
        raise RecordError(path, f"has version {content.get('version')!r}; this code reads version {VERSION}")
    try:
        return Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "record"
        raise RecordError(path, f"{place}: {first['msg']} ({error.error_count()} faults)") from error


def read_all(profile_dir: Path, profile: str | None = None) -> Iterator[tuple[Path, Record]]:
    """All records of a profile directory, or of one profile, by name.

    Raises RecordError at the first that cannot be read.
    """
    for path in sorted(records_directory(profile_dir).glob(f"{profile}_*.json" if profile else "*.json")):
        yield path, read(path)


def siblings(of: Record, profile_dir: Path) -> list[Record]:
    """Return the records that may stand in one file with this one: all but the keys of the cell is the same.

    Of the records of one cell, which may differ in gpu.memory_gb, the newest. Raises RecordError.
    """
    found: dict[tuple[tuple[str, int], ...], Record] = {}
    for _, other in read_all(profile_dir, of.identity.profile):
        key = tuple(other.identity.cell_keys.items())
        newer = key not in found or found[key].provenance.finished_at <= other.provenance.finished_at
        if newer and but_for_the_cell(other.identity) == but_for_the_cell(of.identity):
            found[key] = other
    return [found[key] for key in sorted(found)]


def strangers(of: Record, profile_dir: Path) -> list[Record]:
    """Return the records of the same profile with numbers that may not stand in one file with this one.

    Raises RecordError.
    """
    others = (other for _, other in read_all(profile_dir, of.identity.profile) if other.outcome is Outcome.ok)
    return [other for other in others if but_for_the_cell(other.identity) != but_for_the_cell(of.identity)]


def but_for_the_cell(identity: Identity) -> dict[str, Any]:
    """Return what records must have in common to stand in one file."""
    content = identity.model_dump(exclude=set(CELL_KEYS))
    content["gpu"].pop("memory_gb", None)
    return content


def _lines(content: Mapping[str, Any]) -> bytes:
    """JSON with a line for each top-level key: samples are long, and a person looks for the rest."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number" if math.isnan(float(name)) else f"{name} is not finite")
