"""Metis' profiles: time and memory of each layer, one file a cell.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Metis, which reads `mbs{m}_tmp{t}.json` of every cell
that it plans with (readers/metis.py).
"""

from typing import Any

from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.needs import layers
from sailor_exp.exporters.readers.metis import READER, file_name
from sailor_exp.files import json_file
from sailor_exp.profiles.grids import halvings
from sailor_exp.profiles.layers.published import PhaseTimes
from sailor_exp.units import MIB

_MS = 1e3


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return `mbs{m}_tmp{t}.json` of every measured cell: milliseconds, bytes, and MiB where a key ends in mb.

    Raises MissingCellError where a cell is lost or a tp has no memory.
    """
    inputs.require_whole_grid()
    return {file_name(key): json_file.bytes_of(_cell(inputs, key.tp, key.mbs)) for key in inputs.cells}


def _cell(inputs: Inputs, tp: int, mbs: int) -> dict[str, Any]:
    phases = list(inputs.times(tp=tp, mbs=mbs).values())
    memory = list(inputs.memory(tp=tp).values())
    params_bytes = [counts["params_bytes"] for counts in memory]
    return {
        "model": {
            "model_name": inputs.model.name,
            "num_layers": len(phases),
            "parameters": {
                "total_parameters_bytes": sum(params_bytes),
                "parameters_per_layer_bytes": params_bytes,
                "activation_parameters_bytes": [counts["act_output_bytes"] * mbs for counts in memory],
            },
        },
        "execution_time": _execution_time(phases),
        "execution_memory": {
            "layer_memory_total_mb": [
                (counts["params_floats"] * inputs.bytes_per_parameter + counts["act_mem_bytes"] * mbs) / MIB
                for counts in memory
            ]
        },
    }


def _execution_time(phases: list[PhaseTimes]) -> dict[str, Any]:
    layers_ms = [(layer.forward_s + layer.backward_s) * _MS for layer in phases]
    forward_backward_ms = sum(layers_ms)
    optimizer_ms = sum(layer.update_s for layer in phases) * _MS
    return {
        "total_time_ms": forward_backward_ms + optimizer_ms,
        "forward_backward_time_ms": forward_backward_ms,
        "batch_generator_time_ms": 0.0,
        "optimizer_time_ms": optimizer_ms,
        "layer_compute_total_ms": layers_ms,
    }


EXPORTER = planner(
    READER,
    files,
    needs=lambda asked: [layers(halvings(max(asked.tps)), halvings(max(asked.microbatches)))],
)
