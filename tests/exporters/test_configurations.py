"""Every exporter, for every model, GPU and VM size that can be configured."""

import dataclasses
from pathlib import Path

import pytest

from sailor_exp.command_line import CONF
from sailor_exp.config.architecture import kinds_by_layer_id, uneven_split
from sailor_exp.config.parameter_bytes import bytes_per_parameter
from sailor_exp.config.schema import GpuConfig, ModelConfig, Optimizer, Precision
from sailor_exp.exporters.network.fits import Fit, Network
from sailor_exp.exporters.registry import EXPORTERS
from sailor_exp.exporters.sailor.database import Database
from sailor_exp.exporters.sailor.grid import table_of
from sailor_exp.exporters.source import Activations, Overlap, PeakMemory, Source, Strategies
from sailor_exp.profiles.advice import Advice
from sailor_exp.profiles.layers.published import CellKey
from tests.build.cells import gather_config
from tests.build.records import cell, measured
from tests.build.reference_data import parsed

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
GPUS = sorted(path.stem for path in (CONF / "gpu").glob("*.yaml"))
VMS = sorted(int(path.stem) for path in (CONF / "vm").glob("*.yaml"))
HERE = Path("here.json")
MICROBATCHES = (1, 2, 16)


def database(model: str, tps: list[int]) -> Database:
    records = [(HERE, measured(cell(f"model={model}", "vm='8'", tp=tp, mbs=mbs))) for tp in tps for mbs in MICROBATCHES]
    cells = table_of(gather_config(f"model={model}"), records, []).cells
    return Database(
        times={mbs: {tp: cells[CellKey(tp, mbs)].times for tp in tps} for mbs in MICROBATCHES},
        memory={tp: cells[CellKey(tp, 1)].memory for tp in tps},
        times_path=HERE,
        memory_path=HERE,
    )


def strategy(layer_states: float, layer_activation: float) -> dict[str, float]:
    values = {}
    for layers in (1, 2):
        for rank in (0, 1, 3):
            values[f"layernum[{layers}]_bsz1_rank{rank}_ms"] = 900 + layers * layer_states
            values[f"layernum[{layers}]_bsz1_rank{rank}_act"] = 10 + layers * layer_activation
            values[f"layernum[{layers}]_bsz1_rank{rank}_act_peak"] = 20 + layers * layer_activation
    return values


def source(model: ModelConfig, gpu: GpuConfig, vm: int, of: Database) -> Source:
    layers = [int(layer) for layer in kinds_by_layer_id(model)]
    tps = list(of.memory)
    extra = {"path": HERE, "command": "python launch.py"}
    fits = {count: Fit(name="fit", a=0.0, b=1.0, c=5.0) for count in (1, 2, 4, 8)}
    return Source(
        model=model,
        gpu=gpu.name,
        advice=Advice(model=model.name, gpu=gpu.name, vm=vm),
        gpu_memory_bytes=int(gpu.memory_gb * 2**30),
        gpus_per_vm=vm,
        bytes_per_parameter=20,
        max_nodes=8,
        database=of,
        peaks=PeakMemory(
            **extra, peak_bytes={mbs: {tp: dict.fromkeys(layers, 1e9) for tp in tps} for mbs in MICROBATCHES}
        ),
        activations=Activations(**extra, activation_bytes={1: dict.fromkeys(layers, 800.0)}),
        strategies=Strategies(
            **extra, mebibytes={"1_1_1": strategy(80, 40), "2_1_1": strategy(80, 40), "1_8_1": strategy(10, 5)}
        ),
        overlap=Overlap(**extra, coefficients=dict.fromkeys(VMS, 1.5)),
        network=Network(path=HERE, gpu=gpu.name, inter=fits, intra=fits),
    )


@pytest.mark.filterwarnings("ignore:.*is no good")
@pytest.mark.parametrize("model", MODELS)
def test_every_exporter_writes_every_layer_of_every_model_for_every_gpu_and_vm(model: str) -> None:
    configured = gather_config(f"model={model}").model
    tps = [tp for tp in VMS if uneven_split(configured, tp) is None]
    ids = [str(layer) for layer in kinds_by_layer_id(configured)]
    of = database(model, tps)
    for gpu in GPUS:
        device = gather_config(f"gpu={gpu}").gpu
        for vm in tps:
            files = {name: exporter.files(source(configured, device, vm, of)) for name, exporter in EXPORTERS.items()}
            found = {name: {file: parsed(file, data) for file, data in made.items()} for name, made in files.items()}
            assert {len(forward) for forward in found["amp"].values()} == {len(ids)}
            assert set(found["amp"]) == {f"profile_{tp}.npy" for tp in tps}
            assert set(found["metis"]) == {f"mbs{mbs}_tmp{tp}.json" for mbs in MICROBATCHES for tp in tps}
            assert {file["model"]["num_layers"] for file in found["metis"].values()} == {len(ids)}
            (piper,) = found["piper"].values()
            assert list(piper) == ["1", "2", "16"]
            assert {graph["maxMemoryPerDevice"] for graph in piper.values()} == {int(device.memory_gb * 2**30)}
            assert {tuple(node["TMPCs"]) for graph in piper.values() for node in graph["nodes"]} == {
                tuple(str(tp) for tp in tps)
            }
            assert [node["id"] for node in piper["1"]["nodes"]] == [int(layer) for layer in ids]
            assert list(found["varuna"][f"profile_{vm}.json"]) == ids
            assert list(found["oobleck"][f"profile_{vm}.json"]["16"]["data"]) == ids
            assert set(found["galvatron"]) == {"compute_profile.json", "memory_profile.json", "hw_prof.json"}


def test_a_degree_that_the_architecture_does_not_allow_is_not_asked_for() -> None:
    """GPT-Neo-2.7 has 20 heads: no tp 8, even on a VM of 8."""
    neo = gather_config("model=gpt-neo-2.7").model
    of = database("gpt-neo-2.7", [1, 2, 4])
    files = EXPORTERS["amp"].files(source(neo, gather_config("gpu=a100-40").gpu, 8, of))
    assert set(files) == {"profile_1.npy", "profile_2.npy", "profile_4.npy"}


def test_a_parameter_costs_what_precision_and_optimizer_hold_of_it() -> None:
    costs = {
        (precision, optimizer): bytes_per_parameter(precision, optimizer)
        for precision in Precision
        for optimizer in Optimizer
    }
    assert costs == {
        (Precision.fp32, Optimizer.adam): 20,
        (Precision.fp32, Optimizer.sgd): 16,
        (Precision.bf16, Optimizer.adam): 22,
        (Precision.bf16, Optimizer.sgd): 18,
    }


@pytest.mark.parametrize(("exporter", "key"), [("piper", "memoryUsageB"), ("metis", "layer_memory_total_mb")])
def test_the_cost_of_a_parameter_reaches_the_planner(exporter: str, key: str) -> None:
    tiny = gather_config("model=gpt-tiny")
    asked = source(tiny.model, tiny.gpu, 1, database("gpt-tiny", [1]))
    dear, cheap = (EXPORTERS[exporter].files(dataclasses.replace(asked, bytes_per_parameter=cost)) for cost in (20, 16))
    file = "profile.json" if exporter == "piper" else "mbs1_tmp1.json"
    first, second = parsed(file, dear[file]), parsed(file, cheap[file])
    parameters = asked.database.memory[1][0]["params_floats"]
    if exporter == "piper":
        of_embedding = [graphs["1"]["nodes"][0]["TMPCs"]["1"][0][key] for graphs in (first, second)]
        assert of_embedding == [20 * parameters, 16 * parameters]
    else:
        of_embedding = [cell["execution_memory"][key][0] for cell in (first, second)]
        assert of_embedding[0] - of_embedding[1] == pytest.approx(4 * parameters / 2**20)
