"""The files that every plan needs: those of the simulator, which evaluates the plans of all planners.

Source: eth-easl/sailor at cf2c8e3, sailor/Planner/simulations/simulator.py (`evaluate`, `simulate_plan`) and
runtime_simulator.py (`Simulator`). Per plan it looks up

    llm_info.json           model, tp "1" and the plan's tp, every layer             KeyError
    profiles_tmp.json       model, GPU, microbatch                                    KeyError
                            a tp that is none of the microbatches (`simulate_iteration_time` takes these for the tps)
                                                                                      KeyError
                            tp                                                        0 s
    communication_cost.json zone, zone                                                KeyError
    constants.py            GPU_MEMORY_GB[gpu], GPU_PRICES[gpu][zone]                 KeyError
    utils.py                models[model]                                             KeyError
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sailor_exp.config.architecture import Kind, check_layer_ids, parameters_of_part, uneven_split
from sailor_exp.errors import DamagedFileError, NotACheckoutError
from sailor_exp.exporters.network.checkout import CONSTANTS, is_checkout, lines_to_add, names_in
from sailor_exp.exporters.readers.reader import Case, File, Finding, Hole, Reader, State, json_holes
from sailor_exp.exporters.sailor.database import checked_memory
from sailor_exp.exporters.sailor.grid import settled
from sailor_exp.files.json_file import NotNegative, checked, object_of, objects_in
from sailor_exp.profiles.grids import powers_up_to
from sailor_exp.profiles.layers.published import CellKey, fits_in_memory, grid_in
from sailor_exp.records.record import Outcome

COSTS = Path("sailor/providers/gcp/communication_cost.json")
MODELS = Path("sailor/Planner/simulations/utils.py")

_MICROBATCHES = (1, 2, 4, 8)
"""Measured where nothing is: most planners take what there is, and these hold every tp that AMP or Galvatron tries."""


def files(case: Case, reader: Reader) -> Iterator[File]:
    """Yield the two files of the model that the simulator reads for the plans of a planner."""
    place, command = case.inputs.place, _making(case)
    for path, holes in ((place.llm_info, _memory), (place.simulator, _times)):
        yield File(path=path, command=command, holes=json_holes(path, partial(holes, case, reader)), merged=True)


def shipped(case: Case) -> Iterator[Finding]:
    """Yield findings about what a checkout has, and a directory for the files alone has not."""
    if not is_checkout(case.root):
        text = "export_root is no checkout: what stands in Sailor's code and its prices are not known"
        yield Finding(path=case.root / CONSTANTS, state=State.unchecked, text=text)
        return
    yield from _costs(case)
    yield from _constants(case)
    yield from _models(case)


def _making(case: Case) -> str:
    """Return the command that makes the database: gathering alone where there are records."""
    cells = [(tp, mbs) for tp in powers_up_to(case.inputs.gpus_per_vm) for mbs in _MICROBATCHES]
    return case.commands.gather() if case.outcomes else case.commands.measure(cells)


def _memory(case: Case, reader: Reader, content: Mapping[str, Any]) -> Iterator[Hole]:
    path, model = case.inputs.place.llm_info, case.inputs.model
    entry = objects_in(path, content, model.name)
    if not entry:
        yield Hole(text=f"no entry {model.name}")
        return
    memory = checked_memory(path, entry, model)
    for tp, nodes in ({1: 1} | reader.degrees(case)).items():
        if tp in memory:
            continue
        outcome = case.outcomes.get(CellKey(tp, 1))
        if uneven := uneven_split(model, tp):
            yield Hole(text=f"no tp={tp}, which ends in KeyError: {uneven}", nodes=nodes, by_hand=True)
        elif outcome is not None and settled(outcome) and outcome is not Outcome.ok:
            text = (
                f"no tp={tp}, which ends in KeyError: measured with mbs=1 it was {outcome}. Measure it on a larger GPU"
            )
            yield Hole(text=text, nodes=nodes, by_hand=True)
        else:
            row = [CellKey(tp, mbs) for mbs in _MICROBATCHES]
            yield Hole(text=f"no tp={tp}: KeyError", nodes=nodes, command=_measuring(case, row))


def _times(case: Case, reader: Reader, content: Mapping[str, Any]) -> Iterator[Hole]:
    path, model, gpu = case.inputs.place.simulator, case.inputs.model, case.inputs.gpu
    entry = objects_in(path, content, model.name, gpu)
    if not entry:
        yield Hole(text=f"no entry {model.name}.{gpu}")
        return
    times = grid_in(path, entry, model.name, gpu)
    for mbs, cells in times.items():
        for tp, layers in cells.items():
            check_layer_ids(model, layers, path, f"the cell tp={tp} mbs={mbs}")
            if [*entry[str(mbs)][str(tp)]] != [str(layer) for layer in layers]:
                raise DamagedFileError(
                    path, f"tp={tp} mbs={mbs}: its layers are not in numeric order, as readers assume"
                )
    measured = [CellKey(tp, mbs) for mbs, cells in times.items() for tp in cells]
    for tp, nodes in reader.degrees(case).items():
        if uneven_split(model, tp) is None:
            yield from _of_degree(case, tp, nodes, reader.microbatches(tp) or tuple(times), measured)


def _of_degree(case: Case, tp: int, nodes: int, microbatches: Iterable[int], measured: list[CellKey]) -> Iterator[Hole]:
    known = {key.mbs for key in measured}
    if tp not in known:
        text = f"no mbs={tp}: the simulator takes the microbatches for the tps, so plans of tp={tp} end in KeyError"
        yield Hole(text=text, nodes=nodes, command=_measuring(case, [CellKey(tp, tp)]))
    outcomes = case.outcomes
    absent = [CellKey(tp, mbs) for mbs in microbatches if CellKey(tp, mbs) not in measured]
    absent = [key for key in absent if not settled(outcomes.get(key)) or outcomes[key] is Outcome.ok]
    lost = [key for key in absent if fits_in_memory(key, measured) or outcomes.get(key) is Outcome.ok]
    for keys, state, consequence in (
        (lost, State.lacks, "its plans count as 0 s, or end in KeyError"),
        ([key for key in absent if key not in lost], State.maybe, "a hole unless it ran out of memory"),
    ):
        if keys:
            names = ",".join(str(key.mbs) for key in keys)
            text = f"no tp={tp} mbs={names}: {consequence}"
            yield Hole(text=text, nodes=nodes, state=state, command=_measuring(case, keys))


def _measuring(case: Case, keys: list[CellKey]) -> str:
    outcomes = case.outcomes
    if outcomes and all(settled(outcomes.get(key)) for key in keys):
        return case.commands.gather()
    return case.commands.measure(keys)


def _costs(case: Case) -> Iterator[Finding]:
    path, zone = case.root / COSTS, case.inputs.config.exporter.zone
    try:
        holes = list(_price_holes(path, object_of(path, case.content(path)), zone))
    except FileNotFoundError:
        yield Finding(path=path, state=State.missing, text="it belongs to the checkout: take it from there")
        return
    except DamagedFileError as error:
        yield Finding(path=path, state=State.damaged, text=error.fault)
        return
    if not holes:
        yield Finding(path=path, state=State.ready)
    yield from (Finding(path=path, state=hole.state, text=hole.text) for hole in holes)


def _price_holes(path: Path, content: Mapping[str, Any], zone: str) -> Iterator[Hole]:
    prices = checked(path, content, _PRICES)
    if zone not in prices.get(zone, {}):
        yield Hole(text=f'add by hand "{zone}": {{"{zone}": 0.0}}, the price of 10^9 bytes')


def _constants(case: Case) -> Iterator[Finding]:
    inputs, path = case.inputs, case.root / CONSTANTS
    zone, memory_gb = inputs.config.exporter.zone, inputs.config.gpu.memory_gb
    try:
        lines = lines_to_add(case.root, gpu=inputs.gpu, memory_gb=memory_gb, zone=zone)
    except NotACheckoutError as error:
        yield Finding(path=path, state=State.damaged, text=error.fault)
        return
    yield from lines_found(path, lines)


def _models(case: Case) -> Iterator[Finding]:
    path, model = case.root / MODELS, case.inputs.model
    if not path.is_file():
        yield Finding(path=path, state=State.missing, text="it belongs to the checkout: take it from there")
    elif ("models", model.name) not in names_in(path):
        count = sum(parameters_of_part(model, Kind(kind), 1) for kind in case.inputs.kinds.values())
        yield from lines_found(path, [f"models[{model.name!r}] = Model({4 * count}, 0, [])"])
    else:
        yield Finding(path=path, state=State.ready)


def lines_found(path: Path, lines: list[str]) -> Iterator[Finding]:
    """Yield a finding for each line that a user must add to Sailor's code; we change none."""
    if not lines:
        yield Finding(path=path, state=State.ready)
    for line in lines:
        yield Finding(path=path, state=State.lacks, text=f"add by hand at its end: {line}")


_PRICES: TypeAdapter[dict[str, dict[str, float]]] = TypeAdapter(dict[str, dict[str, NotNegative]])
