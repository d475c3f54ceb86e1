"""AMP's profiles: forward time by layer.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/AMP, which reads `profile_{tp}.npy` as float64 by layer
id, multiplies it by 3 and by the microbatch, and computes with NaN where a tp has no file.
"""

import io

from sailor_exp.config.architecture import uneven_split
from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.profiles.layers.published import CellKey


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return `profile_{tp}.npy`: forward seconds at microbatch 1, shape (layer ids,).

    Raises MissingCellError unless microbatch 1 was measured at every tp that was measured at all and at every power
    of two that the GPUs of a VM and the architecture allow.
    """
    tps = sorted({*inputs.tps, *_degrees_within_a_vm(inputs)})
    inputs.require([CellKey(tp, 1) for tp in tps], "AMP would compute with NaN")
    return {f"profile_{tp}.npy": _forward_s(inputs, tp) for tp in tps}


def _degrees_within_a_vm(inputs: Inputs) -> list[int]:
    degrees = [2**power for power in range(inputs.gpus_per_vm.bit_length())]
    return [tp for tp in degrees if uneven_split(inputs.model, tp) is None]


def _forward_s(inputs: Inputs, tp: int) -> bytes:
    import numpy as np

    content = io.BytesIO()
    forward_s = [phases.forward_s for phases in inputs.times(tp=tp, mbs=1).values()]
    np.save(content, np.array(forward_s, dtype=np.float64))
    return content.getvalue()


EXPORTER = planner("AMP", files)
