"""The identity of a cell: everything that determines its numbers."""

import hashlib
import json
from typing import Any

from sailor_exp.config.schema import CELL_KEYS
from sailor_exp.records.base import Frozen


class Identity(Frozen):
    """Everything that determines the numbers of a cell; None for what the profile does not use.

    `method`: number of the profile's method of measuring. `model`: the architecture, under Megatron's keys. `options`:
    keys of the profile itself. `sailor_exp/profiles/identity.py` makes an identity from a configuration.
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
        """SHA-256 over the canonical JSON of what the profile uses, in hexadecimal."""
        used = {key: value for key, value in self.model_dump().items() if value is not None}
        canonical = json.dumps(used, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def cell_keys(self) -> dict[str, int]:
        """The keys of CELL_KEYS that the profile uses, with their values."""
        return {key: value for key in CELL_KEYS if (value := getattr(self, key)) is not None}

    @property
    def cell_name(self) -> str:
        """Name of the cell for people: `tp=1 mbs=2`."""
        return named(self.cell_keys)

    @property
    def subject(self) -> str:
        """Name of the model, or of the profile where it does not use a model."""
        return str(self.model["name"]) if self.model is not None else self.profile

    @property
    def gpu_name(self) -> str:
        return str(self.gpu["name"])

    @property
    def file_name(self) -> str:
        """Name of the record's file. The name is for people: the record itself holds all of its parts."""
        about = [self.profile, self.subject] if self.model is not None else [self.profile]
        keys = [f"{key}{value}" for key, value in self.cell_keys.items()]
        return "_".join([*about, self.gpu_name, *keys, self.digest[:12]]) + ".json"


def named(cell_keys: dict[str, int]) -> str:
    """Return the keys of a cell as people read them: `tp=1 mbs=2`."""
    return " ".join(f"{key}={value}" for key, value in cell_keys.items())
