"""What Metis opens. Source: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Metis.

data_loader.py (`load_profile_data_all`) reads every `.json` of the directory, and takes tp and microbatch from its
name. metis_planner.py finds the largest tp, and the largest microbatch at tp 1. search_space/plan.py
(`IntraStagePlanGenerator`) then tries every power of two up to both, as far as there are GPUs, and
model/device_group.py (`_get_execution_time`) looks each up, outside of the `try` that catches KeyError.
model/load_balancer.py looks up tp 1, microbatch 1. metis_planner.py loads the GPUs that `gpu_list` names, and takes
`cluster_config["A100-40"]`; utils.py has the GPUs of `DeviceType`.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from sailor_exp.errors import NotACheckoutError
from sailor_exp.exporters.network.checkout import is_checkout, parsed
from sailor_exp.exporters.readers.reader import Case, File, Finding, Hole, Reader, State, json_holes
from sailor_exp.files.json_file import NotNegative, checked
from sailor_exp.profiles.grids import halvings
from sailor_exp.profiles.layers.published import CellKey

_CELL = re.compile(r"mbs(\d+)_tmp(\d+)\.json")
_PLANNER = Path("sailor/Planner/baselines/Metis/metis_planner.py")
_DEVICES = Path("sailor/Planner/baselines/Metis/utils.py")


class MetisReader(Reader):
    """Metis tries a tp across VMs, too."""

    planner = "Metis"
    opens_measured_pairs = True
    asks_inside = True

    def files(self, case: Case, command: str) -> Iterator[File]:
        directory, cells = case.inputs.place.baseline(self.planner), _cells(case)
        for key in sorted({*cells, *(key for key in asked(cells) if case.nodes_with(key.tp) is not None)}):
            path = directory / file_name(key)
            yield File(path=path, command=command, holes=_holes_of(case, key, path))
        for path in sorted(_strangers(case, directory)):
            yield File(path=path, command=command, holes=lambda _: iter([_STRANGER]))

    def degrees(self, case: Case) -> dict[int, int]:
        """Return them with the VM: what spans VMs is looked up by the GPUs of one (`get_time_layer`)."""
        tps = {key.tp for key in asked(_cells(case))}
        tried = {tp: nodes for tp in sorted(tps) if (nodes := case.nodes_with(tp)) is not None}
        vm = case.inputs.gpus_per_vm
        return {**tried, vm: 1} if max(tried, default=0) > vm else tried

    def code(self, case: Case) -> Iterator[Finding]:
        """Yield a finding for each file with names of GPUs."""
        if is_checkout(case.root):
            yield from _code_findings(case.root / _PLANNER, lambda tree: _faults_of_planner(case, tree))
            yield from _code_findings(case.root / _DEVICES, lambda tree: _faults_of_devices(case.inputs.gpu, tree))


def file_name(key: CellKey) -> str:
    """Return the name of a cell's file."""
    return f"mbs{key.mbs}_tmp{key.tp}.json"


def asked(cells: set[CellKey]) -> list[CellKey]:
    """Return the cells that Metis looks up, from those that there are: at least tp 1 and microbatch 1."""
    largest_tp = max((key.tp for key in cells), default=1)
    largest_mbs = max((key.mbs for key in cells if key.tp == 1), default=1)
    return [CellKey(tp, mbs) for tp in halvings(largest_tp) for mbs in halvings(largest_mbs)]


def _names(case: Case) -> set[str]:
    directory = case.inputs.place.baseline("Metis")
    new = {path.name for path in case.new if path.parent == directory}
    return new | {path.name for path in directory.glob("*.json")}


def _cells(case: Case) -> set[CellKey]:
    matches = (_CELL.fullmatch(name) for name in _names(case))
    return {CellKey(int(match[2]), int(match[1])) for match in matches if match}


def _strangers(case: Case, directory: Path) -> list[Path]:
    return [directory / name for name in _names(case) if not _CELL.fullmatch(name)]


def _holes_of(case: Case, key: CellKey, path: Path) -> Callable[[bytes], Iterator[Hole]]:
    return json_holes(path, partial(_holes, case, key, path))


def _holes(case: Case, key: CellKey, path: Path, content: Mapping[str, Any]) -> Iterator[Hole]:
    cell, layers = checked(path, content, _CELL_FILE), len(case.inputs.kinds)
    parameters = cell["model"]["parameters"]["parameters_per_layer_bytes"]
    lists = (
        parameters,
        cell["execution_time"]["layer_compute_total_ms"],
        cell["execution_memory"]["layer_memory_total_mb"],
    )
    for numbers in lists:
        if len(numbers) != layers:
            yield Hole(text=f"{len(numbers)} layers; the model has {layers} layer ids", state=State.other_model)
            return
    yield from case.other_parameters(key.tp, dict(enumerate(parameters)))


def _code_findings(path: Path, faults: Callable[[ast.Module], Iterator[str]]) -> Iterator[Finding]:
    try:
        texts = list(faults(parsed(path)))
    except NotACheckoutError as error:
        yield Finding(path=path, state=State.damaged, text=error.fault)
        return
    if not texts:
        yield Finding(path=path, state=State.ready)
    for text in texts:
        yield Finding(path=path, state=State.lacks, text=f"{text}: change its code by hand")


def _faults_of_planner(case: Case, tree: ast.Module) -> Iterator[str]:
    gpu, loaded = case.inputs.gpu, _loaded_gpus(tree)
    if gpu not in loaded:
        yield f"gpu_list has {', '.join(loaded)}, not {gpu}"
    directories = {other: case.inputs.place.baseline("Metis").with_name(other) for other in loaded if other != gpu}
    if absent := [other for other, directory in directories.items() if not directory.is_dir()]:
        yield f"gpu_list has {', '.join(absent)}, of which there are no files"
    if taken := [other for other in _gpus_of_cluster(tree) if other != gpu]:
        yield f"it takes cluster_config[{taken[0]!r}], which a cluster of {gpu} has not"


def _faults_of_devices(gpu: str, tree: ast.Module) -> Iterator[str]:
    if gpu not in _devices(tree):
        yield f"DeviceType has no {gpu}"


def _loaded_gpus(tree: ast.Module) -> list[str]:
    keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "gpu_list")
    lists = [node.value.elts for node in keywords if isinstance(node.value, ast.List)]
    return [str(name.value) for names in lists for name in names if isinstance(name, ast.Constant)]


def _gpus_of_cluster(tree: ast.Module) -> list[str]:
    """Return the names under which `cluster_config` is read."""
    names = []
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id="cluster_config"), slice=ast.Constant(value=str(name))):
                names.append(name)
    return names


def _devices(tree: ast.Module) -> list[str]:
    """Return the members of `DeviceType`, which have underscores for dashes."""
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "DeviceType")
    members = (statement for node in classes for statement in node.body if isinstance(statement, ast.Assign))
    names = [target.id for member in members for target in member.targets if isinstance(target, ast.Name)]
    return [name.replace("_", "-") for name in names]


_STRANGER = Hole(text="its name is none of mbs{m}_tmp{t}.json, and the reader ends there: move it away", by_hand=True)


class _Parameters(TypedDict):
    parameters_per_layer_bytes: list[NotNegative]


class _Model(TypedDict):
    parameters: _Parameters


class _Time(TypedDict):
    forward_backward_time_ms: NotNegative
    batch_generator_time_ms: NotNegative
    optimizer_time_ms: NotNegative
    layer_compute_total_ms: list[NotNegative]


class _Memory(TypedDict):
    layer_memory_total_mb: list[NotNegative]


class _Cell(TypedDict):
    model: _Model
    execution_time: _Time
    execution_memory: _Memory


_CELL_FILE = TypeAdapter(_Cell)

READER = MetisReader()
