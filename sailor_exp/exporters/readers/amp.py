"""What AMP opens. Source: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/AMP.

cost_amp.py (`AMP.init_param`) loads `profile_{tp}.npy` for tp 1, 2, 4 and 8 where it is there, adds it to an array of
all layers, and computes with NaN where it is not. sa.py (`amp_no_placement_strategy`) tries the divisors of a VM's
GPUs; amp_planner.py skips those that are none of the four. For each, cost_amp.py looks up the layers in llm_info.json.
"""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from sailor_exp.config.architecture import uneven_split
from sailor_exp.errors import DamagedFileError
from sailor_exp.exporters.readers.reader import Case, File, Hole, Reader, State

_LOADED = (1, 2, 4, 8)


def tried(gpus_per_vm: int) -> list[int]:
    """Return the tensor parallel degrees that AMP tries, on any cluster."""
    return [tp for tp in _LOADED if gpus_per_vm % tp == 0]


class AmpReader(Reader):
    """AMP takes any microbatch that divides the batch."""

    planner = "AMP"

    def files(self, case: Case, command: str) -> Iterator[File]:
        directory, layers = case.inputs.place.baseline(self.planner), len(case.inputs.kinds)
        for tp in _LOADED:
            path = directory / f"profile_{tp}.npy"
            can_be = uneven_split(case.inputs.model, tp) is None
            if case.exists(path) or (can_be and tp in tried(case.inputs.gpus_per_vm)):
                yield File(path=path, command=command, holes=partial(_holes, path, layers))

    def degrees(self, case: Case) -> dict[int, int]:
        return dict.fromkeys(tried(case.inputs.gpus_per_vm), 1)


def _holes(path: Path, layers: int, content: bytes) -> Iterator[Hole]:
    import numpy as np

    try:
        seconds = np.load(io.BytesIO(content))
    except (ValueError, EOFError, OSError) as error:
        raise DamagedFileError(path, f"is no array of NumPy: {error}") from error
    if not np.issubdtype(seconds.dtype, np.floating) or np.isnan(seconds).any() or (seconds < 0).any():
        raise DamagedFileError(path, "does not hold times")
    if seconds.shape != (layers,):
        shape = "x".join(str(length) for length in seconds.shape)
        yield Hole(text=f"{shape} times; the model has {layers} layer ids", state=State.other_model)


READER = AmpReader()
