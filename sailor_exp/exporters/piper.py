"""Piper's profile: a graph of layers for every microbatch.

Dialect: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Piper, which reads `profile.json` by microbatch and each
node's TMPCs (tensor-model-parallel configurations) by tp. Times are seconds, sizes bytes.
"""

from typing import Any

from sailor_exp.config.architecture import Kind
from sailor_exp.exporters.source import Source
from sailor_exp.files import json_file

_NAMES = {
    Kind.embedding: "Embedding",
    Kind.layer: "Transformer",
    Kind.layer_window: "Transformer",
    Kind.final_norm: "RMS",
    Kind.head: "Head",
}


def files(source: Source) -> dict[str, bytes]:
    """Return `profile.json`. Raises MissingCellError where the grid has lost a cell or a tp its memory."""
    source.require_whole_grid()
    graphs = {str(mbs): _graph(source, mbs, sorted(cells)) for mbs, cells in source.database.times.items()}
    return {"profile.json": json_file.bytes_of(graphs)}


def _graph(source: Source, mbs: int, tps: list[int]) -> dict[str, Any]:
    layers = list(source.kinds)
    return {
        "maxDevices": 1,
        "maxMemoryPerDevice": source.gpu_memory_bytes,
        "bandwidth": 1,
        "mbsInBatch": 1,
        "nodes": [_node(source, mbs, tps, layer) for layer in layers],
        "edges": [_edge(source, mbs, tps[0], layer) for layer in layers[:-1]],
    }


def _node(source: Source, mbs: int, tps: list[int], layer: int) -> dict[str, Any]:
    name = _NAMES[Kind(source.kinds[layer])]
    return {"id": layer, "name": name, "TMPCs": {str(tp): [_configuration(source, mbs, tp, layer)] for tp in tps}}


def _configuration(source: Source, mbs: int, tp: int, layer: int) -> dict[str, Any]:
    phases = source.times(tp=tp, mbs=mbs)[layer]
    memory = source.memory(tp=tp)[layer]
    last = max(source.kinds)
    return {
        "id": "vanilla",
        "timePerSample": phases.forward_s + phases.backward_s,
        "parameterSize": memory["params_bytes"],
        "memoryUsageA": memory["act_mem_bytes"] * mbs,
        "memoryUsageB": memory["params_floats"] * source.bytes_per_parameter,
        "syncTimeFw": {str(layer - 1): 0} if layer > 0 else {},
        "syncTimeBw": {str(layer + 1): 0} if layer < last else {},
    }


def _edge(source: Source, mbs: int, tp: int, layer: int) -> dict[str, int]:
    """What a layer hands on is the same on every rank and for every tp."""
    crossing_bytes = source.memory(tp=tp)[layer]["act_output_bytes"] * mbs
    return {"sourceId": layer, "destId": layer + 1, "communicationCost": crossing_bytes}
