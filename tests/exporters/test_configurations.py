"""Every exporter, for every model, GPU and VM size that can be configured."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sailor_exp.command_line import CONF
from sailor_exp.config.architecture import kinds_by_layer_id, uneven_split
from sailor_exp.config.parameter_bytes import planned_bytes_per_parameter
from sailor_exp.config.schema import ExporterConfig, GatherConfig, Optimizer, Precision, VmConfig
from sailor_exp.exporters.exporter import write as write_files
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.registry import exporter_named
from tests.build.cells import gather_config
from tests.build.records import write_grid
from tests.build.reference_data import parsed

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
GPUS = sorted(path.stem for path in (CONF / "gpu").glob("*.yaml"))
VMS = sorted(int(path.stem) for path in (CONF / "vm").glob("*.yaml"))
PLANNERS = ("amp", "galvatron", "metis", "oobleck", "piper", "varuna")
MICROBATCHES = (1, 2, 4)


def asked(root: Path, exporter: str, *, model: str, gpu: str = "cpu", vm: int = 1, **changes: Any) -> GatherConfig:
    """What an export asks for; composed once for a model and once for a GPU, since composing takes long."""
    composed, device = gather_config(f"model={model}"), gather_config(f"gpu={gpu}").gpu
    names = f"{composed.model.name}_{device.name}.json"
    extra = {
        "varuna": root / f"varuna_profile_{names}",
        "oobleck": root / f"oobleck_profile_{names}",
        "galvatron": root / "memory_profile.json",
    }
    return replace(
        composed,
        gpu=device,
        vm=VmConfig(gpus=vm),
        profile_dir=str(root / "profiles"),
        export_root=str(root / "export"),
        exporter=ExporterConfig(
            name=exporter,
            extra_file=str(extra[exporter]) if exporter in extra else None,
            network_file=str(root / "network.json"),
            overlap_file=str(root / "overlap.json"),
            max_nodes=8,
        ),
        **changes,
    )


def exported(config: GatherConfig) -> dict[str, Any]:
    files = exporter_named(config.exporter.name).files(Inputs(config)).files
    return {path.name: parsed(path.name, content) for path, content in files.items()}


def lay_out(root: Path, model: str, tps: list[int], gpus: Iterable[str] = ("cpu",)) -> None:
    """A grid of records, gathered; the same numbers for every GPU; and every file that a planner reads besides."""
    write_grid(root / "profiles", f"model={model}", "vm='8'", tps=tuple(tps), microbatches=MICROBATCHES)
    with Inputs(asked(root, "sailor", model=model)) as inputs:
        write_files(exporter_named("sailor").files(inputs).files)
    gathered = inputs.place.profile.read_bytes()
    layers = list(kinds_by_layer_id(inputs.model))
    peaks = {mbs: {tp: dict.fromkeys(layers, 1e9) for tp in tps} for mbs in MICROBATCHES}
    places = [Inputs(asked(root, "sailor", model=model, gpu=gpu)).place for gpu in gpus]
    fits = {place.gpu: {count: [[0.0, 1.0, 5.0], 1e10] for count in VMS} for place in places}
    strategies = {"2_1_1": strategy(80, 40), **{f"1_{tp}_1": strategy(80 / tp, 40 / tp) for tp in VMS}}
    write_json(root / "memory_profile.json", strategies)
    write_json(root / "network.json", {"inter": fits, "intra": fits})
    write_json(root / "overlap.json", {place.gpu: dict.fromkeys(VMS, 1.5) for place in places})
    for place in places:
        place.profile.parent.mkdir(parents=True, exist_ok=True)
        place.profile.write_bytes(gathered)
        write_json(root / f"varuna_profile_{place.model}_{place.gpu}.json", peaks)
        write_json(root / f"oobleck_profile_{place.model}_{place.gpu}.json", {1: dict.fromkeys(layers, 800.0)})


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def strategy(layer_states: float, layer_activation: float) -> dict[str, float]:
    values = {}
    for layers in (1, 2):
        for rank in (0, 1, 3):
            values[f"layernum[{layers}]_bsz1_rank{rank}_ms"] = 900 + layers * layer_states
            values[f"layernum[{layers}]_bsz1_rank{rank}_act"] = 10 + layers * layer_activation
            values[f"layernum[{layers}]_bsz1_rank{rank}_act_peak"] = 20 + layers * layer_activation
    return values


@pytest.mark.filterwarnings("ignore:.*is no good")
@pytest.mark.parametrize("model", MODELS)
def test_every_exporter_writes_every_layer_of_every_model_for_every_gpu_and_vm(model: str, tmp_path: Path) -> None:
    configured = gather_config(f"model={model}").model
    tps = [tp for tp in VMS if uneven_split(configured, tp) is None]
    ids = [str(layer) for layer in kinds_by_layer_id(configured)]
    lay_out(tmp_path, model, tps, GPUS)
    for gpu in GPUS:
        device = gather_config(f"gpu={gpu}").gpu
        for vm in tps:
            found = {name: exported(asked(tmp_path, name, model=model, gpu=gpu, vm=vm)) for name in PLANNERS}
            assert {len(forward) for forward in found["amp"].values()} == {len(ids)}
            assert set(found["amp"]) == {f"profile_{tp}.npy" for tp in tps}
            assert set(found["metis"]) == {f"mbs{mbs}_tmp{tp}.json" for mbs in MICROBATCHES for tp in tps}
            assert {file["model"]["num_layers"] for file in found["metis"].values()} == {len(ids)}
            (piper,) = found["piper"].values()
            assert list(piper) == ["1", "2", "4"]
            assert {graph["maxMemoryPerDevice"] for graph in piper.values()} == {int(device.memory_gb * 2**30)}
            assert {tuple(node["TMPCs"]) for graph in piper.values() for node in graph["nodes"]} == {
                tuple(str(tp) for tp in tps)
            }
            assert [node["id"] for node in piper["1"]["nodes"]] == [int(layer) for layer in ids]
            assert list(found["varuna"][f"profile_{vm}.json"]) == ids
            assert list(found["oobleck"][f"profile_{vm}.json"]["4"]["data"]) == ids
            assert set(found["galvatron"]) == {"compute_profile.json", "memory_profile.json", "hw_prof.json"}


def test_a_degree_that_the_architecture_does_not_allow_is_not_asked_for(tmp_path: Path) -> None:
    """GPT-Neo-2.7 has 20 heads: no tp 8, even on a VM of 8."""
    lay_out(tmp_path, "gpt-neo-2.7", [1, 2, 4])
    files = exported(asked(tmp_path, "amp", model="gpt-neo-2.7", vm=8))
    assert set(files) == {"profile_1.npy", "profile_2.npy", "profile_4.npy"}


def test_a_parameter_costs_what_precision_and_optimizer_hold_of_it() -> None:
    costs = {
        (precision, optimizer): planned_bytes_per_parameter(precision, optimizer)
        for precision in Precision
        for optimizer in Optimizer
    }
    assert costs == {
        (Precision.fp32, Optimizer.adam): 20,
        (Precision.fp32, Optimizer.sgd): 16,
        (Precision.tf32, Optimizer.adam): 20,
        (Precision.tf32, Optimizer.sgd): 16,
        (Precision.bf16, Optimizer.adam): 22,
        (Precision.bf16, Optimizer.sgd): 18,
    }


@pytest.mark.parametrize(("exporter", "key"), [("piper", "memoryUsageB"), ("metis", "layer_memory_total_mb")])
def test_the_cost_of_a_parameter_reaches_the_planner(exporter: str, key: str, tmp_path: Path) -> None:
    lay_out(tmp_path, "gpt-tiny", [1])
    optimizers = [asked(tmp_path, exporter, model="gpt-tiny", optimizer=optimizer) for optimizer in Optimizer]
    file = "profile.json" if exporter == "piper" else "mbs1_tmp1.json"
    first, second = (exported(config)[file] for config in optimizers)
    parameters = Inputs(optimizers[0]).database.memory[1][0]["params_floats"]
    if exporter == "piper":
        of_embedding = [graphs["1"]["nodes"][0]["TMPCs"]["1"][0][key] for graphs in (first, second)]
        assert of_embedding == [20 * parameters, 16 * parameters]
    else:
        of_embedding = [cell["execution_memory"][key][0] for cell in (first, second)]
        assert of_embedding[0] - of_embedding[1] == pytest.approx(4 * parameters / 2**20)
