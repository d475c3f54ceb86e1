"""Varuna's profile: time and memory of each layer, tensor parallel over a whole VM.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Varuna, which reads `profile_{gpus_per_vm}.json`
(readers/varuna.py).
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sailor_exp.errors import MissingInputError
from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.inputs import Extra, Inputs
from sailor_exp.exporters.needs import LAYERS, Asked, Need
from sailor_exp.exporters.readers.varuna import READER
from sailor_exp.files import json_file
from sailor_exp.profiles.grids import Grid, halvings
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.profiles.varuna.profile import PeakBytes, read_file


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return `profile_{gpus_per_vm}.json`: {layer: {mbs: numbers}}, seconds and bytes.

    The numbers are forward, backward, params_bytes, mem_required and output_activation. Every layer has the same
    microbatches: the powers of two up to the largest with times, and with the peak memory of every layer. Others are
    left out, with a warning. Raises MissingCellError or MissingInputError for a power of two below that one.
    """
    inputs.times(tp=inputs.gpus_per_vm, mbs=1)
    peaks = inputs.extra("varuna", read_file)
    microbatches = _microbatches(inputs, peaks)
    for mbs in inputs.database.times.keys() - set(microbatches):
        warnings.warn(f"Varuna: {_why_left_out(inputs, peaks.content, mbs)}: left out", stacklevel=2)
    layers = {
        str(layer): {str(mbs): _numbers(inputs, mbs, layer, peaks.content) for mbs in microbatches}
        for layer in inputs.kinds
    }
    return {f"profile_{inputs.gpus_per_vm}.json": json_file.bytes_of(layers)}


def _microbatches(inputs: Inputs, peaks: Extra[PeakBytes]) -> list[int]:
    measured = [mbs for mbs, cells in inputs.database.times.items() if inputs.gpus_per_vm in cells]
    whole = [mbs for mbs in measured if _power_of_two(mbs) and not _without_peak(inputs, peaks.content, mbs)]
    halved = halvings(max(whole, default=1))
    reason = f"Varuna halves its largest microbatch, {halved[-1]}, down to 1"
    inputs.require([CellKey(inputs.gpus_per_vm, mbs) for mbs in halved], reason)
    holes = {mbs: layers for mbs in halved if (layers := _without_peak(inputs, peaks.content, mbs))}
    if holes:
        raise _missing_peaks(inputs, peaks, holes)
    return halved


def _power_of_two(mbs: int) -> bool:
    return mbs.bit_count() == 1


def _without_peak(inputs: Inputs, peaks: PeakBytes, mbs: int) -> list[int]:
    known = peaks.get(mbs, {}).get(inputs.gpus_per_vm, {})
    return [layer for layer in inputs.kinds if layer not in known]


def _missing_peaks(inputs: Inputs, peaks: Extra[PeakBytes], holes: Mapping[int, Iterable[int]]) -> MissingInputError:
    tp = inputs.gpus_per_vm
    names = [f"of layer {_list(layers)} at tp={tp} mbs={mbs}" for mbs, layers in holes.items()]
    command = inputs.advice.profile("varuna", f"vm={tp} tp={tp} mbs={','.join(str(mbs) for mbs in holes)}")
    return replace(peaks, command=command).missing(f"the peak memory {', '.join(names)}")


def _why_left_out(inputs: Inputs, peaks: PeakBytes, mbs: int) -> str:
    cell = f"tp={inputs.gpus_per_vm} mbs={mbs}"
    if inputs.gpus_per_vm not in inputs.database.times[mbs]:
        return f"{cell} was not measured"
    if not _power_of_two(mbs):
        return f"mbs={mbs} is no power of two"
    return f"no peak memory at {cell} of layer {_list(_without_peak(inputs, peaks, mbs))}"


def _list(layers: Iterable[int]) -> str:
    return ", ".join(str(layer) for layer in layers)


def _numbers(inputs: Inputs, mbs: int, layer: int, peaks: PeakBytes) -> dict[str, float]:
    phases = inputs.times(tp=inputs.gpus_per_vm, mbs=mbs)[layer]
    memory = inputs.memory(tp=inputs.gpus_per_vm)[layer]
    return {
        "forward": phases.forward_s,
        "backward": phases.backward_s,
        "params_bytes": memory["params_bytes"],
        "mem_required": peaks[mbs][inputs.gpus_per_vm][layer],
        "output_activation": memory["act_output_bytes"] * mbs / inputs.gpus_per_vm,
    }


def _needs(asked: Asked) -> list[Need]:
    cells: Grid = {"tp": [asked.vm], "mbs": halvings(max(asked.microbatches))}
    return [Need(LAYERS, cells), Need("varuna", cells)]


EXPORTER = planner(READER, files, needs=_needs)
