"""What Piper opens. Source: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Piper.

piper_planner.py (`PiperPlanner`) reads microbatch 1 of `profile.json` alone, and src/algo.cpp (`from_json`,
`Instance::checkInputCorrectness`) every node, each tp of it and every edge. It never takes a tp that a node lacks.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.errors import DamagedFileError
from sailor_exp.exporters.readers.reader import Case, File, Hole, Reader, json_holes
from sailor_exp.files.json_file import Count, NotNegative, WholeKey, checked, object_of


class PiperReader(Reader):
    """Piper plans with microbatch 1, and with every tp of its file, also across VMs."""

    planner = "Piper"
    opens_measured_pairs = True

    def files(self, case: Case, command: str) -> Iterator[File]:
        path = self._path(case)
        yield File(path=path, command=command, holes=json_holes(path, partial(_holes, case, path)))

    def degrees(self, case: Case) -> dict[int, int]:
        path = self._path(case)
        try:
            tps = [*_nodes(path, object_of(path, case.content(path)))[0]["TMPCs"]]
        except (FileNotFoundError, DamagedFileError, LookupError):
            tps = []
        return {tp: nodes for tp in {1, *tps} if (nodes := case.nodes_with(tp)) is not None}

    def microbatches(self, tp: int) -> tuple[int, ...]:  # noqa: ARG002
        return (1,)

    def _path(self, case: Case) -> Path:
        return case.inputs.place.baseline(self.planner) / "profile.json"


def _nodes(path: Path, content: Mapping[str, Any]) -> "dict[int, _Node]":
    return {node["id"]: node for node in checked(path, content["1"], _GRAPH, "1")["nodes"]}


def _holes(case: Case, path: Path, content: Mapping[str, Any]) -> Iterator[Hole]:
    if "1" not in content:
        yield Hole(text="no mbs=1: KeyError: '1'")
        return
    nodes = _nodes(path, content)
    check_layer_ids(case.inputs.model, nodes, path, "microbatch 1")
    edges = {(edge["sourceId"], edge["destId"]) for edge in content["1"]["edges"]}
    if edges != {(layer, layer + 1) for layer in range(len(nodes) - 1)}:
        raise DamagedFileError(path, "1.edges do not lead from each layer to the next")
    for tp in sorted({tp for node in nodes.values() for tp in node["TMPCs"]}):
        without = [str(layer) for layer, node in nodes.items() if not node["TMPCs"].get(tp)]
        if without:
            yield Hole(text=f"no tp={tp} of layer {', '.join(without)}: Piper never takes it")
            continue
        found = {layer: node["TMPCs"][tp][0]["parameterSize"] for layer, node in nodes.items()}
        yield from case.other_parameters(tp, found)


class _Configuration(TypedDict):
    id: str
    timePerSample: NotNegative
    parameterSize: NotNegative
    memoryUsageA: NotNegative
    memoryUsageB: NotNegative
    syncTimeFw: dict[WholeKey, NotNegative]
    syncTimeBw: dict[WholeKey, NotNegative]


class _Node(TypedDict):
    id: Count
    TMPCs: dict[WholeKey, list[_Configuration]]


class _Edge(TypedDict):
    sourceId: Count
    destId: Count
    communicationCost: NotNegative


class _Graph(TypedDict):
    maxMemoryPerDevice: NotNegative
    nodes: list[_Node]
    edges: list[_Edge]


_GRAPH = TypeAdapter(_Graph)

READER = PiperReader()
