"""Piper's profile: a graph of layers for every microbatch.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Piper, which reads `profile.json` by microbatch and each
node's TMPCs (tensor-model-parallel configurations) by tp. Times are seconds, sizes bytes.
"""

from typing import Any

from sailor_exp.config.architecture import Kind
from sailor_exp.exporters.exporter import planner
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.readers.piper import READER
from sailor_exp.files import json_file

_NAMES = {
    Kind.embedding: "Embedding",
    Kind.layer: "Transformer",
    Kind.layer_window: "Transformer",
    Kind.final_norm: "RMS",
    Kind.head: "Head",
}


def files(inputs: Inputs) -> dict[str, bytes]:
    """Return `profile.json`. Raises MissingCellError where a cell is lost or a tp has no memory."""
    inputs.require_whole_grid()
    graphs = {str(mbs): _graph(inputs, mbs, sorted(cells)) for mbs, cells in inputs.database.times.items()}
    return {"profile.json": json_file.bytes_of(graphs)}


def _graph(inputs: Inputs, mbs: int, tps: list[int]) -> dict[str, Any]:
    layers = list(inputs.kinds)
    return {
        "maxDevices": 1,
        "maxMemoryPerDevice": inputs.gpu_memory_bytes,
        "bandwidth": 1,
        "mbsInBatch": 1,
        "nodes": [_node(inputs, mbs, tps, layer) for layer in layers],
        "edges": [_edge(inputs, mbs, tps[0], layer) for layer in layers[:-1]],
    }


def _node(inputs: Inputs, mbs: int, tps: list[int], layer: int) -> dict[str, Any]:
    name = _NAMES[Kind(inputs.kinds[layer])]
    return {"id": layer, "name": name, "TMPCs": {str(tp): [_configuration(inputs, mbs, tp, layer)] for tp in tps}}


def _configuration(inputs: Inputs, mbs: int, tp: int, layer: int) -> dict[str, Any]:
    phases = inputs.times(tp=tp, mbs=mbs)[layer]
    memory = inputs.memory(tp=tp)[layer]
    last = max(inputs.kinds)
    return {
        "id": "vanilla",
        "timePerSample": phases.forward_s + phases.backward_s,
        "parameterSize": memory["params_bytes"],
        "memoryUsageA": memory["act_mem_bytes"] * mbs,
        "memoryUsageB": memory["params_floats"] * inputs.bytes_per_parameter,
        "syncTimeFw": {str(layer - 1): 0} if layer > 0 else {},
        "syncTimeBw": {str(layer + 1): 0} if layer < last else {},
    }


def _edge(inputs: Inputs, mbs: int, tp: int, layer: int) -> dict[str, int]:
    """Return the edge to the next layer. Its bytes are the same on every rank and for every tp."""
    crossing_bytes = inputs.memory(tp=tp)[layer]["act_output_bytes"] * mbs
    return {"sourceId": layer, "destId": layer + 1, "communicationCost": crossing_bytes}


EXPORTER = planner(READER, files)
