"""What makes two cells the same measurement."""

import hashlib
import json
from typing import Any

from sailor_exp.config.schema import CELL_KEYS
from sailor_exp.records.base import Frozen

METHOD = 2
"""What the timers bracket. Raised when the same identity would no longer give the same numbers."""


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


def file_name(identity: Identity) -> str:
    """Name of the file of a cell's record. For people: everything in it stands inside the record too."""
    about = [identity.profile, identity.subject] if identity.model is not None else [identity.profile]
    keys = [f"{key}{value}" for key, value in identity.cell_keys.items()]
    return "_".join([*about, identity.gpu["name"], *keys, identity.digest[:12]]) + ".json"


def but_for_the_cell(identity: Identity) -> dict[str, Any]:
    """Return what records must have in common to stand in one file."""
    content = identity.model_dump(exclude=set(CELL_KEYS))
    content["gpu"].pop("memory_gb", None)
    return content
