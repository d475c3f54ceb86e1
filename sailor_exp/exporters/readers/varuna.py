"""What Varuna opens. Source: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Varuna/auto_config.py.

`read_profile` takes every key of `profile_{gpus_per_vm}.json` for a layer, and `AutoConfig` reads each layer at
microbatch 1. `get_microbatch_size` halves the largest microbatch of layer 0 and looks each up for every layer. The
plans have tp 1 (varuna_planner.py, 'T': 1).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from sailor_exp.config.architecture import check_layer_ids
from sailor_exp.exporters.readers.reader import Case, File, Hole, Reader, json_holes
from sailor_exp.files.json_file import NotNegative, WholeKey, checked
from sailor_exp.profiles.grids import halvings


class VarunaReader(Reader):
    """Varuna plans with the whole VM as one device."""

    planner = "Varuna"

    def files(self, case: Case, command: str) -> Iterator[File]:
        path = case.inputs.place.baseline(self.planner) / f"profile_{case.inputs.gpus_per_vm}.json"
        yield File(path=path, command=command, holes=json_holes(path, partial(_holes, case, path)))

    def degrees(self, case: Case) -> dict[int, int]:  # noqa: ARG002
        return {1: 1}


def _holes(case: Case, path: Path, content: Mapping[str, Any]) -> Iterator[Hole]:
    layers = checked(path, content, _FILE)
    check_layer_ids(case.inputs.model, layers, path, "the file")
    largest = max(layers[0], default=1)
    if largest.bit_count() != 1:
        yield Hole(text=f"its largest microbatch, {largest}, is no power of two: halves of it end in KeyError")
    for mbs in halvings(largest):
        without = [str(layer) for layer, cells in layers.items() if mbs not in cells]
        if without:
            yield Hole(text=f"no mbs={mbs} of layer {', '.join(without)}: KeyError: {mbs}")
    params_bytes = {layer: cells[1]["params_bytes"] for layer, cells in layers.items() if 1 in cells}
    yield from case.other_parameters(case.inputs.gpus_per_vm, params_bytes)


class _Numbers(TypedDict):
    forward: NotNegative
    backward: NotNegative
    params_bytes: NotNegative
    mem_required: NotNegative
    output_activation: NotNegative


_FILE: TypeAdapter[dict[int, dict[int, _Numbers]]] = TypeAdapter(dict[WholeKey, dict[WholeKey, _Numbers]])

READER = VarunaReader()
