"""What Oobleck opens: `profile_{gpus_per_vm}.json`, in the format of the published exporter.

eth-easl/sailor at cf2c8e3 has no reader of it: sailor/Planner/simulations/simulator.py imports
sailor/Planner/baselines/Oobleck/oobleck_planner.py, which is not there, and goes on without it. So what is asked for is
what sailor/profiling/baselines/generate_baseline_profs.py writes, and the simulator's files.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.exporters.network.checkout import is_checkout
from sailor_exp.exporters.readers.reader import Case, File, Finding, Hole, Reader, State, json_holes
from sailor_exp.files.json_file import Count, NotNegative, WholeKey, checked

_PLANNER = Path("sailor/Planner/baselines/Oobleck/oobleck_planner.py")


class OobleckReader(Reader):
    """Oobleck plans with the whole VM as one device."""

    planner = "Oobleck"

    def files(self, case: Case, command: str) -> Iterator[File]:
        path = case.inputs.place.baseline(self.planner) / f"profile_{case.inputs.gpus_per_vm}.json"
        yield File(path=path, command=command, holes=json_holes(path, partial(_holes, case, path)))

    def degrees(self, case: Case) -> dict[int, int]:
        return {case.inputs.gpus_per_vm: 1}

    def code(self, case: Case) -> Iterator[Finding]:
        if is_checkout(case.root) and not (case.root / _PLANNER).is_file():
            text = "the checkout has no Oobleck planner, so what it reads is not known"
            yield Finding(path=case.root / _PLANNER, state=State.unchecked, text=text)


def _holes(case: Case, path: Path, content: Mapping[str, Any]) -> Iterator[Hole]:
    vm, microbatches = case.inputs.gpus_per_vm, checked(path, content, _FILE)
    if 1 not in microbatches:
        yield Hole(text="no mbs=1")
    for mbs, cell in microbatches.items():
        check_layer_ids(case.inputs.model, cell["data"], path, f"mbs={mbs}")
        if cell["num_gpus_per_node"] != vm:
            yield Hole(text=f"mbs={mbs} is of {cell['num_gpus_per_node']} GPUs a VM")
        yield from case.other_parameters(vm, {layer: row["mem_required"][0] for layer, row in cell["data"].items()})
        for nodes in case.clusters:
            if any(nodes not in row["ar_across"] for row in cell["data"].values()):
                command = case.commands.export("oobleck", f"exporter.max_nodes={max(case.clusters)}")
                yield Hole(text=f"mbs={mbs}: no all-reduce across {nodes} VMs", nodes=nodes, command=command)
                break


class _Row(TypedDict):
    forward: NotNegative
    backward: NotNegative
    ar_across: dict[WholeKey, NotNegative]
    mem_required: tuple[NotNegative, NotNegative]


class _Cell(TypedDict):
    num_gpus_per_node: Count
    data: dict[WholeKey, _Row]


_FILE: TypeAdapter[dict[int, _Cell]] = TypeAdapter(dict[WholeKey, _Cell])

READER = OobleckReader()
