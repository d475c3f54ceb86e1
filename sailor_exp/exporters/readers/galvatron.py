"""What Galvatron opens. Source: eth-easl/sailor at cf2c8e3, sailor/Planner/baselines/Galvatron.

core/search_engine.py (`get_profiled_model_configs`, `get_profiled_hardware_configs`) reads the three files;
utils/config_utils.py (`read_allreduce_bandwidth_config`) the all-reduces of every number of GPUs up to the cluster's.
Every power of two of them is a tp (`generate_dp_tp_pp_sdp`), up to the constant `max_tp_deg` of galvatron_planner.py. A
plan's microbatch is 1, 2 or 4 times its tp (`parallelism_optimization` and `get_sorted_plans`).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from sailor_exp.config.architecture import uneven_split
from sailor_exp.errors import DamagedFileError
from sailor_exp.exporters.readers.reader import Case, File, Hole, Reader, json_holes
from sailor_exp.files.json_file import NotNegative, WholeKey, checked

DEGREES = (1, 2, 4)
"""Tensor parallel degrees that Galvatron tries; the last one is its `max_tp_deg`."""


class GalvatronReader(Reader):
    """Galvatron tries a tp across VMs, too, and opens no bandwidth file itself."""

    planner = "Galvatron"

    def files(self, case: Case, command: str) -> Iterator[File]:
        directory = case.inputs.place.baseline(self.planner)
        for name, holes in (
            ("compute_profile.json", _compute_holes),
            ("memory_profile.json", _memory_holes),
            ("hw_prof.json", _hardware_holes),
        ):
            path = directory / name
            yield File(path=path, command=command, holes=json_holes(path, partial(holes, case, path)))

    def degrees(self, case: Case) -> dict[int, int]:
        return {tp: nodes for tp in DEGREES if (nodes := case.nodes_with(tp)) is not None}

    def microbatches(self, tp: int) -> tuple[int, ...]:
        return (tp, 2 * tp, 4 * tp)

    def counts(self, case: Case) -> dict[int, int]:
        """Return them: the simulator takes a plan's VMs to have as many GPUs as its tp ('num_gpus_per_node')."""
        return {1: 1, **self.degrees(case)}


def _compute_holes(case: Case, path: Path, content: Mapping[str, Any]) -> Iterator[Hole]:  # noqa: ARG001
    checked(path, content, _COMPUTE)
    yield from ()


def _memory_holes(case: Case, path: Path, content: Mapping[str, Any]) -> Iterator[Hole]:
    measured = checked(path, content, _MEMORY)["layertype_0"]["tp_activation_per_bsz_dict"]
    for tp in DEGREES:
        nodes = case.nodes_with(tp)
        if tp in measured or nodes is None:
            continue
        uneven = uneven_split(case.inputs.model, tp)
        text = f"no strategy 1_{tp}_1: the reader ends in KeyError: {tp} for {tp} GPUs or more"
        yield Hole(
            text=f"{text}: {uneven}" if uneven else text,
            nodes=nodes,
            command=_strategies(case, tp) if tp > case.inputs.gpus_per_vm else None,
            by_hand=uneven is not None,
            otherwise=smaller_file(tp),
        )


def smaller_file(tp: int) -> str:
    """Return how to make a file that needs no such tp; empty where there is no file of so few GPUs, since two group."""
    return f"exporter.max_nodes={tp - 1} makes a file for fewer" if tp > 2 else ""  # noqa: PLR2004


def _strategies(case: Case, tp: int) -> str:
    """Return the command that measures a tp that is larger than the VM, and exports again."""
    return f"{case.commands.profile('galvatron', tp)} && {case.commands.export('galvatron')}"


def _hardware_holes(case: Case, path: Path, content: Mapping[str, Any]) -> Iterator[Hole]:
    figures = checked(path, content, _HARDWARE)
    if zero := [name for name, figure in figures.items() if figure == 0]:
        raise DamagedFileError(path, f"{zero[0]} is 0, by which the reader divides")
    if "overlap_coe" not in figures:
        yield Hole(text="no overlap_coe")
    for nodes in case.clusters:
        gpus = nodes * case.inputs.gpus_per_vm
        absent = [name for name in _all_reduces(gpus) if name not in figures]
        if absent:
            command = case.commands.export(
                "galvatron", f"exporter.max_nodes={max(case.clusters) * case.inputs.gpus_per_vm}"
            )
            yield Hole(text=f"no {absent[0]}, which clusters of {gpus} GPUs need", nodes=nodes, command=command)
            return


def _all_reduces(gpus: int) -> Iterator[str]:
    for ranks in range(2, gpus):
        yield f"allreduce_size_{ranks}_consec_0"
        yield f"allreduce_size_{ranks}_consec_1"
    if gpus > 1:
        yield f"allreduce_size_{gpus}_consec_1"


class _Compute(TypedDict):
    layertype_0: NotNegative


class _Layer(TypedDict):
    parameter_size: NotNegative
    tp_activation_per_bsz_dict: dict[WholeKey, NotNegative]


class _Other(TypedDict):
    model_states: NotNegative
    activation: NotNegative


class _Memory(TypedDict):
    layertype_0: _Layer
    other_memory_pp_off: _Other
    other_memory_pp_on_first: _Other
    other_memory_pp_on_last: _Other


_COMPUTE = TypeAdapter(_Compute)
_MEMORY = TypeAdapter(_Memory)
_HARDWARE: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, NotNegative])

READER = GalvatronReader()
