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
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sailor_exp.errors import RecordError
from sailor_exp.storage import make_directory, remove_unfinished, write_whole

FORMAT: Final = "sailor-exp record"
VERSION: Final = 1
METHOD = 1
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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Identity(_Frozen):
    """Everything that determines the numbers of a cell. `model` holds Megatron's keys of the architecture."""

    method: int
    profile: str
    model: dict[str, Any]
    gpu: dict[str, Any]
    tp: int
    mbs: int
    precision: str
    optimizer: str
    attention: str

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the identity, in hexadecimal."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class PartSamples(_Frozen):
    """Raw times of one part of the chain, in seconds, each of shape (T, N).

    `kind` says which layers of the model the part stands for. `overhead_s` is what DeepSpeed's step takes beyond
    the update itself: a real training step pays it once, not once a layer.
    """

    part: str
    kind: str
    forward_s: list[list[NonNegative]]
    backward_s: list[list[NonNegative]]
    update_s: list[list[NonNegative]]
    overhead_s: list[list[NonNegative]]


class Samples(_Frozen):
    """All steps of a cell; the first `warmup` of them count in no statistic. `calibration_s`: shape (T, N)."""

    warmup: Count
    parts: list[PartSamples]
    calibration_s: list[list[NonNegative]]


class Timing(_Frozen):
    """One phase of one kind of part: slowest rank of each step, mean of the parts of that kind.

    `value_s` is the trimmed mean that planners add up; `relative_half_width` belongs to the 95 % interval of batch
    medians and is None where there were too few steps to tell.
    """

    value_s: NonNegative
    median_s: NonNegative
    relative_half_width: NonNegative | None
    skew_s: NonNegative


class KindStatistics(_Frozen):
    """Timing of the three phases of one kind of part, and of DeepSpeed's overhead around its update."""

    forward: Timing
    backward: Timing
    update: Timing
    overhead: Timing


class Statistics(_Frozen):
    """What the samples say. `converged`: the interval of the calibrated step reached `target` in `steps` steps."""

    steps: Count
    converged: bool
    target: NonNegative
    relative_half_width: NonNegative | None
    step: Timing
    kinds: dict[str, KindStatistics]


class PartMemory(_Frozen):
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


class Memory(_Frozen):
    """Memory of a rank that holds the chain of parts; the largest of the ranks.

    `peak_bytes`: parameters, gradients, optimizer states and activations at the highest moment of a step.
    `reserved_bytes` and `device_used_bytes` are the allocator's and the device's own figures, None where there is
    none to ask.
    """

    kinds: dict[str, PartMemory]
    peak_bytes: Count
    reserved_bytes: Count | None
    device_used_bytes: Count | None


class DeviceFacts(_Frozen):
    """The device of one rank, as its driver names it, and the libraries that drive it; None for what is not there."""

    name: str
    uuid: str | None
    driver: str | None
    memory_bytes: Count | None
    clock_mhz: dict[str, int | None]
    cuda: str | None = None
    nccl: str | None = None


class Provenance(_Frozen):
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


class Ending(_Frozen):
    """Why a cell has no numbers: the phase it ended in, the rank and signal where there was one, the log."""

    message: str
    phase: str | None = None
    rank: int | None = None
    signal: str | None = None
    log: str | None = None


class Record(_Frozen):
    """How one cell ended, and what it measured. `layers` maps each layer id of the model to a kind of part."""

    format: Literal["sailor-exp record"] = FORMAT
    version: Literal[1] = VERSION
    outcome: Outcome
    identity: Identity
    ending: Ending | None
    layers: dict[str, str] | None
    statistics: Statistics | None
    memory: Memory | None
    samples: Samples | None
    provenance: Provenance

    @model_validator(mode="after")
    def _has_what_its_outcome_needs(self) -> Self:
        measured = (self.layers, self.statistics, self.memory, self.samples)
        if self.outcome is Outcome.ok and (None in measured or self.ending is not None):
            raise ValueError("an ok record has layers, statistics, memory and samples, and no ending")
        if self.outcome is not Outcome.ok and self.ending is None:
            raise ValueError("a record that is not ok says how it ended")
        return self

    @property
    def file_name(self) -> str:
        """Name of the record's file."""
        return file_name(self.identity)


def file_name(identity: Identity) -> str:
    """Name of the file of a cell's record. For people: everything in it stands inside the record too."""
    return (
        f"{identity.profile}_{identity.model['name']}_{identity.gpu['name']}"
        f"_tp{identity.tp}_mbs{identity.mbs}_{identity.digest[:12]}.json"
    )


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


def read_all(profile_dir: Path) -> Iterator[tuple[Path, Record]]:
    """All records of a profile directory, by name. Raises RecordError at the first that cannot be read."""
    for path in sorted(records_directory(profile_dir).glob("*.json")):
        yield path, read(path)


def _lines(content: Mapping[str, Any]) -> bytes:
    """JSON with a line for each top-level key: samples are long, and a person looks for the rest."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number" if math.isnan(float(name)) else f"{name} is not finite")
