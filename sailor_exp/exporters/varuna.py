"""Varuna's profile: time and memory of each layer, tensor parallel over a whole VM.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Varuna, which reads `profile_{gpus_per_vm}.json`.
"""

import warnings

from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.inputs import Extra, Inputs
from sailor_exp.files import json_file
from sailor_exp.profiles.varuna.profile import PeakBytes, read_file


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return `profile_{gpus_per_vm}.json`: {layer: {mbs: numbers}}, seconds and bytes.

    The numbers are forward, backward, params_bytes, mem_required and output_activation. A layer has no entry for a
    microbatch without times or peak memory, with a warning. Raises MissingCellError or MissingInputError for
    microbatch 1.
    """
    inputs.times(tp=inputs.gpus_per_vm, mbs=1)
    peaks = inputs.extra("varuna", read_file)
    _require_microbatch_1(inputs, peaks)
    for mbs in inputs.database.times:
        _warn_of_holes(inputs, peaks.content, mbs)
    layers = {str(layer): _microbatches(inputs, peaks.content, layer) for layer in inputs.kinds}
    return {f"profile_{inputs.gpus_per_vm}.json": json_file.bytes_of(layers)}


def _require_microbatch_1(inputs: Inputs, peaks: Extra[PeakBytes]) -> None:
    for layer in inputs.kinds:
        if _peak_bytes(inputs, peaks.content, 1, layer) is None:
            raise peaks.missing(f"the peak memory of layer {layer} at tp={inputs.gpus_per_vm} mbs=1")


def _warn_of_holes(inputs: Inputs, peaks: PeakBytes, mbs: int) -> None:
    cell = f"tp={inputs.gpus_per_vm} mbs={mbs}"
    holes = [str(layer) for layer in inputs.kinds if _peak_bytes(inputs, peaks, mbs, layer) is None]
    if inputs.gpus_per_vm not in inputs.database.times[mbs]:
        warnings.warn(f"Varuna: {cell} was not measured: left out", stacklevel=3)
    elif holes:
        warnings.warn(f"Varuna: no peak memory at {cell} of layer {', '.join(holes)}: left out", stacklevel=3)


def _microbatches(inputs: Inputs, peaks: PeakBytes, layer: int) -> dict[str, dict[str, float]]:
    microbatches = {}
    for mbs, cells in inputs.database.times.items():
        peak_bytes = _peak_bytes(inputs, peaks, mbs, layer)
        if inputs.gpus_per_vm in cells and peak_bytes is not None:
            microbatches[str(mbs)] = _numbers(inputs, mbs, layer, peak_bytes)
    return microbatches


def _peak_bytes(inputs: Inputs, peaks: PeakBytes, mbs: int, layer: int) -> float | None:
    return peaks.get(mbs, {}).get(inputs.gpus_per_vm, {}).get(layer)


def _numbers(inputs: Inputs, mbs: int, layer: int, peak_bytes: float) -> dict[str, float]:
    phases = inputs.times(tp=inputs.gpus_per_vm, mbs=mbs)[layer]
    memory = inputs.memory(tp=inputs.gpus_per_vm)[layer]
    return {
        "forward": phases.forward_s,
        "backward": phases.backward_s,
        "params_bytes": memory["params_bytes"],
        "mem_required": peak_bytes,
        "output_activation": memory["act_output_bytes"] * mbs / inputs.gpus_per_vm,
    }


EXPORTER = planner("Varuna", files)
