"""Varuna's profile: time and memory of each layer, tensor parallel over a whole VM.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Varuna, which reads `profile_{gpus_per_vm}.json`.
"""

import warnings

from sailor_exp.errors import MissingInputError
from sailor_exp.exporters.source import PeakMemory, Source, present
from sailor_exp.files import json_file


def files(source: Source) -> dict[str, bytes]:
    """Return `profile_{gpus_per_vm}.json`: {layer: {mbs: numbers}}, seconds and bytes.

    The numbers are forward, backward, params_bytes, mem_required and output_activation. A microbatch of which times or
    peak memory are not there for a layer is left out of it, with a warning. Raises MissingCellError or
    MissingInputError for microbatch 1.
    """
    peaks = present(source.peaks)
    _require_microbatch_1(source, peaks)
    for mbs in source.database.times:
        _warn_of_holes(source, peaks, mbs)
    layers = {str(layer): _microbatches(source, peaks, layer) for layer in source.kinds}
    return {f"profile_{source.gpus_per_vm}.json": json_file.bytes_of(layers)}


def _require_microbatch_1(source: Source, peaks: PeakMemory) -> None:
    source.times(tp=source.gpus_per_vm, mbs=1)
    for layer in source.kinds:
        if _peak_bytes(source, peaks, 1, layer) is None:
            raise MissingInputError(
                peaks.path,
                what=f"the peak memory of layer {layer} at tp={source.gpus_per_vm} mbs=1",
                command=peaks.command,
                key="exporter.extra_file",
            )


def _warn_of_holes(source: Source, peaks: PeakMemory, mbs: int) -> None:
    cell = f"tp={source.gpus_per_vm} mbs={mbs}"
    holes = [str(layer) for layer in source.kinds if _peak_bytes(source, peaks, mbs, layer) is None]
    if source.gpus_per_vm not in source.database.times[mbs]:
        warnings.warn(f"Varuna: {cell} was not measured: left out", stacklevel=3)
    elif holes:
        warnings.warn(f"Varuna: no peak memory at {cell} of layer {', '.join(holes)}: left out", stacklevel=3)


def _microbatches(source: Source, peaks: PeakMemory, layer: int) -> dict[str, dict[str, float]]:
    found = {}
    for mbs, cells in source.database.times.items():
        peak_bytes = _peak_bytes(source, peaks, mbs, layer)
        if source.gpus_per_vm in cells and peak_bytes is not None:
            found[str(mbs)] = _numbers(source, mbs, layer, peak_bytes)
    return found


def _peak_bytes(source: Source, peaks: PeakMemory, mbs: int, layer: int) -> float | None:
    return peaks.peak_bytes.get(mbs, {}).get(source.gpus_per_vm, {}).get(layer)


def _numbers(source: Source, mbs: int, layer: int, peak_bytes: float) -> dict[str, float]:
    phases = source.times(tp=source.gpus_per_vm, mbs=mbs)[layer]
    memory = source.memory(tp=source.gpus_per_vm)[layer]
    return {
        "forward": phases.forward_s,
        "backward": phases.backward_s,
        "params_bytes": memory["params_bytes"],
        "mem_required": peak_bytes,
        "output_activation": memory["act_output_bytes"] * mbs / source.gpus_per_vm,
    }
