"""Varuna's profile: time and memory of each layer, tensor parallel over a whole VM.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Varuna, which reads `profile_{gpus_per_vm}.json` and takes
every microbatch that layer 0 has.
"""

import warnings

from sailor_exp import json_file
from sailor_exp.errors import MissingInputError
from sailor_exp.export.source import PeakMemory, Source, present


def files(source: Source) -> dict[str, bytes]:
    """Return `profile_{gpus_per_vm}.json`: {layer: {mbs: numbers}}, seconds and bytes.

    The numbers are forward, backward, params_bytes, mem_required and output_activation. A microbatch of which times or
    peak memory are not there for a layer is left out of it, with a warning. Raises MissingCellError or
    MissingInputError for microbatch 1.
    """
    tp = source.gpus_per_vm
    peaks = present(source.peaks)
    source.times(tp=tp, mbs=1)
    layers = {str(layer): _microbatches(source, peaks, tp, layer) for layer in source.kinds}
    return {f"profile_{source.gpus_per_vm}.json": json_file.bytes_of(layers)}


def _microbatches(source: Source, peaks: PeakMemory, tp: int, layer: int) -> dict[str, dict[str, float]]:
    found = {}
    for mbs, cells in source.database.times.items():
        peak_bytes = peaks.peak_bytes.get(mbs, {}).get(tp, {}).get(layer)
        if tp in cells and peak_bytes is not None:
            found[str(mbs)] = _numbers(source, tp, mbs, layer, peak_bytes)
        elif mbs == 1:
            raise MissingInputError(
                peaks.path,
                what=f"the peak memory of layer {layer} at tp={tp} mbs=1",
                command=f"{peaks.command} tp={tp}",
                key="exporter.extra_file",
            )
        elif layer == 0:
            lacking = "times" if tp not in cells else "peak memory"
            warnings.warn(f"Varuna: no {lacking} at tp={tp} mbs={mbs}: left out", stacklevel=2)
    return found


def _numbers(source: Source, tp: int, mbs: int, layer: int, peak_bytes: float) -> dict[str, float]:
    phases = source.times(tp=tp, mbs=mbs)[layer]
    memory = source.memory(tp=tp)[layer]
    return {
        "forward": phases.forward_s,
        "backward": phases.backward_s,
        "params_bytes": memory["params_bytes"],
        "mem_required": peak_bytes,
        "output_activation": memory["act_output_bytes"] * mbs / source.gpus_per_vm,
    }
