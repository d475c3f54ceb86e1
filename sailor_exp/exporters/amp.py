"""AMP's profiles: forward time by layer.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/AMP, which reads `profile_{tp}.npy` as float64 by layer
id, multiplies it by 3 and by the microbatch, and computes with NaN where a tp has no file. It tries tp 1 on any cluster
(readers/amp.py), also where tp 1 does not fit into memory.
"""

import io
import math
import warnings
from collections.abc import Sequence

from sailor_exp.config.architecture import uneven_split
from sailor_exp.config.schema import ModelConfig
from sailor_exp.errors import UnfitDegreeError
from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.needs import layers
from sailor_exp.exporters.readers.amp import READER, tried
from sailor_exp.profiles.layers.published import CellKey, fits_in_memory


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return `profile_{tp}.npy`: forward seconds at microbatch 1, shape (layer ids,).

    A tp of `exporter.infinite_tps` gets infinities, with a warning. Raises MissingCellError unless microbatch 1 was
    measured at every other tp that was measured at all, or that AMP tries and the architecture allows;
    UnfitDegreeError for an infinite tp that fits, or whose memory AMP would not find.
    """
    infinite = inputs.option("infinite_tps")
    _check_infinite(inputs, infinite)
    finite = sorted({*inputs.tps, *_degrees(inputs.gpus_per_vm, inputs.model)} - {*infinite})
    cells = [CellKey(tp, 1) for tp in finite]
    inputs.require(cells, f"AMP would compute with NaN{_choice(inputs, cells)}")
    forward_s = {tp: [phases.forward_s for phases in inputs.times(tp=tp, mbs=1).values()] for tp in finite}
    forward_s |= {tp: [math.inf] * len(inputs.kinds) for tp in infinite}
    return {f"profile_{tp}.npy": _bytes(by_layer) for tp, by_layer in sorted(forward_s.items())}


def _check_infinite(inputs: Inputs, tps: Sequence[int]) -> None:
    for tp in tps:
        larger = [key for key in inputs.cells if fits_in_memory(CellKey(tp, 1), [key])]
        if larger:
            raise UnfitDegreeError(tp, f"but {inputs.database.times_path} has numbers of {max(larger)}: it fits")
        if tp not in inputs.database.memory:
            raise UnfitDegreeError(
                tp,
                f"but {inputs.database.memory_path} has no memory of {inputs.model.name} at tp={tp}, without which AMP "
                "ends in KeyError. Measure that degree on a GPU that it fits, and gather it into this export_root",
            )
        warnings.warn(
            f"AMP: profile_{tp}.npy holds infinities, as exporter.infinite_tps says: AMP takes plans of tp={tp} for "
            "infinitely slow, some of them for NaN, which may stand anywhere in its order: leave those out of its list",
            stacklevel=3,
        )


def _choice(inputs: Inputs, cells: Sequence[CellKey]) -> str:
    """Return the way out for missing cells that may not fit into memory; empty where the key would be refused, too."""
    measured, missing = inputs.cells, [key for key in cells if key not in inputs.cells]
    unfit = [key.tp for key in missing if not fits_in_memory(key, measured)]
    if not unfit or any(tp not in inputs.database.memory for tp in unfit):
        return ""
    tps = sorted({*unfit, *inputs.option("infinite_tps")})
    key = f"exporter.infinite_tps=[{','.join(str(tp) for tp in tps)}]"
    return f". If it ran out of memory, {key} writes infinities for it, and AMP may take such plans for NaN"


def _bytes(forward_s: Sequence[float]) -> bytes:
    import numpy as np

    content = io.BytesIO()
    np.save(content, np.array(forward_s, dtype=np.float64))
    return content.getvalue()


def _degrees(gpus_per_vm: int, model: ModelConfig) -> list[int]:
    """Return the degrees that AMP tries and over which the architecture can be split."""
    return [tp for tp in tried(gpus_per_vm) if uneven_split(model, tp) is None]


EXPORTER = planner(READER, files, needs=lambda asked: [layers(_degrees(asked.vm, asked.model), [1])])
