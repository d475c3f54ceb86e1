"""Whether planners find what they open: eth-easl/sailor at cf2c8e3 is what opens it."""

import io
import json
import re
import shlex
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sailor_exp.command_line import GATHER, LAUNCH, checked
from sailor_exp.exporters.exporter import write as write_files
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.readers.reader import Finding, State
from sailor_exp.exporters.registry import exporter_named, planners
from sailor_exp.records.files import prepare, write
from sailor_exp.records.record import Outcome
from tests.build import checkouts
from tests.build.cells import gather_config
from tests.build.checkouts import COSTS, LLM_INFO, SIMULATOR, answers, configured, rewrite
from tests.build.link_records import link_record, network_cell, overlap_cell, overlap_record, rate
from tests.build.network_exports import ALL, INTRA, MEASURED
from tests.build.records import cell, unmeasured, write_grid

pytestmark = pytest.mark.filterwarnings("ignore:.*is no good", "ignore:.*is a guess", "ignore:.*loopback")

EVERYONE = {"amp", "galvatron", "metis", "oobleck", "piper", "varuna"}
BASELINES = Path("sailor/Planner/baselines")
OF = Path("profiles/OPT-350/A100-40")


def unready(root: Path, vm: int = 4, *overrides: str) -> dict[str, list[Finding]]:
    """What each planner that is not ready misses."""
    found = answers(configured(root, "amp", vm, *overrides))
    return {
        name: [finding for finding in (*one.shared, *one.own) if not finding.fine]
        for name, one in found.items()
        if not one.ready
    }


def in_json(path: Path, *keys: str) -> Any:
    """A change that removes what stands under keys."""

    def remove(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return lambda root: rewrite(root / path, remove)


def doubled(path: Path, *keys: str) -> Any:
    """A change that doubles the number under keys."""

    def double(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key] if isinstance(content, dict) else content[int(key)]
        place = keys[-1] if isinstance(content, dict) else int(keys[-1])
        content[place] *= 2

    return lambda root: rewrite(root / path, double)


def text(path: Path, content: str | bytes) -> Any:
    return lambda root: (root / path).write_bytes(content.encode() if isinstance(content, str) else content)


def gone(path: Path) -> Any:
    return lambda root: (root / path).unlink()


def npy(*shape: int) -> bytes:
    content = io.BytesIO()
    np.save(content, np.ones(shape))
    return content.getvalue()


AMP, GALVATRON, METIS = BASELINES / "AMP" / OF, BASELINES / "Galvatron" / OF, BASELINES / "Metis" / OF
OOBLECK, PIPER, VARUNA = BASELINES / "Oobleck" / OF, BASELINES / "Piper" / OF, BASELINES / "Varuna" / OF
ONES = ("us-central1-a", "A100-40", "1", "us-central1-a", "A100-40", "1")
FOURS = ("us-central1-a", "A100-40", "4", "us-central1-a", "A100-40", "4")
MEMORY = ("OPT-350", "2", "1")
TIMES = ("OPT-350", "A100-40")
CONSTANTS, MODELS, METIS_PLANNER, METIS_DEVICES = (Path(path) for path in (
    "sailor/Planner/simulations/constants.py", "sailor/Planner/simulations/utils.py",
    "sailor/Planner/baselines/Metis/metis_planner.py", "sailor/Planner/baselines/Metis/utils.py",
))  # fmt: skip
MANY = EVERYONE - {"varuna", "oobleck"}
"""Planners that take a tp below that of the whole VM."""

FAULTS: dict[str, tuple[Any, set[str], State, str]] = {
    "AMP, no file of a tp": (gone(AMP / "profile_2.npy"), {"amp"}, State.missing, ""),
    "AMP, cut off": (text(AMP / "profile_4.npy", npy(26)[:90]), {"amp"}, State.damaged, "no array of NumPy"),
    "AMP, a file that is not tried": (text(AMP / "profile_8.npy", npy(3)), {"amp"}, State.other_model, "3 times"),
    "Varuna, a hole": (in_json(VARUNA / "profile_4.json", "25", "8"), {"varuna"}, State.lacks, "no mbs=8 of layer 25"),
    "Varuna, a layer less": (in_json(VARUNA / "profile_4.json", "25"), {"varuna"}, State.other_model, "25 layer ids"),
    "Varuna, another model": (
        doubled(VARUNA / "profile_4.json", "3", "1", "params_bytes"), {"varuna"}, State.other_model, "layer 3 has"),
    "Piper, cut off": (text(PIPER / "profile.json", '{"1": {'), {"piper"}, State.damaged, "cut off"),
    "Piper, no mbs=1": (in_json(PIPER / "profile.json", "1"), {"piper"}, State.lacks, "no mbs=1"),
    "Piper, an edge less": (
        lambda root: rewrite(root / PIPER / "profile.json", lambda all_: all_["1"]["edges"].pop()),
        {"piper"}, State.damaged, "edges"),
    "Metis, no file of a cell": (gone(METIS / "mbs2_tmp2.json"), {"metis"}, State.missing, ""),
    "Metis, a stranger": (text(METIS / "notes.json", "{}"), {"metis"}, State.lacks, "its name is none of"),
    "Metis, another model": (
        doubled(METIS / "mbs1_tmp1.json", "model", "parameters", "parameters_per_layer_bytes", "2"),
        {"metis"}, State.other_model, "layer 2 has"),
    "Galvatron, no tp": (
        in_json(GALVATRON / "memory_profile.json", "layertype_0", "tp_activation_per_bsz_dict", "4"),
        {"galvatron"}, State.lacks, "KeyError: 4"),
    "Galvatron, a bandwidth of 0": (
        lambda root: rewrite(root / GALVATRON / "hw_prof.json", lambda all_: all_.update(allreduce_size_2_consec_0=0)),
        {"galvatron"}, State.damaged, "divides"),
    "Galvatron, a group less": (
        in_json(GALVATRON / "hw_prof.json", "allreduce_size_128_consec_1"),
        {"galvatron"}, State.lacks, "clusters of 128 GPUs"),
    "Oobleck, a layer less": (
        in_json(OOBLECK / "profile_4.json", "2", "data", "0"), {"oobleck"}, State.other_model, "none of the id 0"),
    "Oobleck, a number of VMs less": (
        in_json(OOBLECK / "profile_4.json", "1", "data", "5", "ar_across", "16"),
        {"oobleck"}, State.lacks, "across 16 VMs"),
    "no memory of a tp": (in_json(LLM_INFO, "OPT-350", "2"), MANY, State.lacks, "no tp=2"),
    "no memory of tp 1": (in_json(LLM_INFO, "OPT-350", "1"), EVERYONE, State.lacks, "no tp=1"),
    "memory of another model": (doubled(LLM_INFO, *MEMORY, "params_floats"), EVERYONE, State.other_model, "layer 1"),
    "no times": (in_json(SIMULATOR, *TIMES), EVERYONE, State.lacks, "no entry OPT-350.A100-40"),
    "a lost cell": (in_json(SIMULATOR, *TIMES, "2", "1"), {"amp", "galvatron", "metis", "varuna"}, State.lacks, "0 s"),
    "no microbatch that is a tp": (
        in_json(SIMULATOR, *TIMES, "4"), EVERYONE - {"varuna"}, State.lacks, "no mbs=4: the simulator takes"),
    "layers out of order": (
        lambda root: rewrite(root / SIMULATOR, lambda all_: reverse(all_["OPT-350"]["A100-40"]["1"], "1")),
        EVERYONE, State.damaged, "numeric order"),
    "no zone": (in_json(ALL, "us-central1-a"), EVERYONE, State.lacks, "no zone us-central1-a"),
    "no single GPU": (in_json(ALL, *ONES), EVERYONE, State.lacks, "no bandwidth of 1 x A100-40"),
    "no two GPUs": (in_json(ALL, "us-central1-a", "A100-40", "2"), MANY, State.lacks, "of 2 x A100-40"),
    "bandwidths of another shape": (text(ALL, '{"us-central1-a": 1}'), EVERYONE, State.damaged, "us-central1-a"),
    "no measured pair": (in_json(MEASURED, *FOURS), {"metis", "piper"}, State.lacks, "of 4 x A100-40"),
    "no bandwidth inside": (in_json(INTRA, "A100-40", "4"), {"metis"}, State.lacks, "among 4 x A100-40"),
    "no file of the bandwidths inside": (gone(INTRA), EVERYONE, State.missing, ""),
    "no prices of the zone": (text(COSTS, "{}"), EVERYONE, State.lacks, 'add by hand "us-central1-a"'),
    "no constant": (
        text(CONSTANTS, "GPU_MEMORY_GB = {}\nGPU_PRICES = {'A100-40': {'us-central1-a': 1.0}}\n"),
        EVERYONE, State.lacks, r"GPU_MEMORY_GB\['A100-40'\] = 40"),
    "no model": (text(MODELS, "models = {}\n"), EVERYONE, State.lacks, r"models\['OPT-350'\] = Model\(1629724672, 0"),
    "Metis' code, another GPU": (
        text(METIS_PLANNER, "load(gpu_list=['GH-96'])\n"), {"metis"}, State.lacks, "gpu_list has GH-96, not A100-40"),
    "Metis' code, another cluster": (
        text(METIS_PLANNER, "load(gpu_list=['A100-40'])\ncluster_config['V100-16']\n"),
        {"metis"}, State.lacks, r"cluster_config\['V100-16'\]"),
    "Metis' code, another device": (
        text(METIS_DEVICES, "class DeviceType(Enum):\n    V100_16 = 'v100-16'\n"),
        {"metis"}, State.lacks, "DeviceType has no A100-40"),
}  # fmt: skip


def reverse(cells: dict[str, Any], tp: str) -> None:
    cells[tp] = dict(reversed(cells[tp].items()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    checkouts.lay_out(root, 4)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A root of which a test may change the files."""
    shutil.copytree(whole, tmp_path / "root")
    return tmp_path / "root"


@pytest.mark.parametrize("vm", [1, 2, 4])
def test_all_planners_are_ready_on_the_published_data_in_a_checkout(tmp_path: Path, vm: int) -> None:
    checkouts.lay_out(tmp_path, vm)
    assert unready(tmp_path, vm) == {}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planner_that_misses_something_is_not_ready_and_no_other(root: Path, fault: str) -> None:
    spoil, planners_that_miss, state, says = FAULTS[fault]
    spoil(root / "export")
    found = unready(root)
    assert found.keys() == planners_that_miss
    for findings in found.values():
        assert any(finding.state is state and matches(says, finding.text) for finding in findings), findings


def matches(pattern: str, said: str) -> bool:
    return re.search(pattern, said) is not None


def test_what_a_command_would_refuse_is_to_be_done_by_hand_first(root: Path) -> None:
    doubled(LLM_INFO, *MEMORY, "params_floats")(root / "export")
    text(INTRA, "{")(root / "export")
    memory, links = unready(root)["varuna"]
    assert memory.command is None
    assert memory.text.endswith(": set model.* to it, or use another model.name or export_root")
    assert links.text.endswith(": mend it or move it away first")


def test_a_cell_that_ran_out_of_memory_is_no_hole(root: Path) -> None:
    for mbs in ("1", "2", "4", "8"):
        in_json(SIMULATOR, *TIMES, mbs, "1")(root / "export")
    whether = {finding.state for finding in answers(configured(root, "amp", 4))["amp"].shared if "tp=1" in finding.text}
    assert whether == {State.maybe}, "it may not fit: nothing that needs as much memory was measured"
    write_grid(root / "profiles", "model=opt-350", "gpu=a100-40", tps=(2,), microbatches=(1,))
    for mbs in (1, 2, 4, 8):
        write(unmeasured(cell("model=opt-350", "gpu=a100-40", mbs=mbs), Outcome.oom), root / "profiles")
    assert not [one for one in answers(configured(root, "amp", 4))["amp"].shared if "tp=1" in one.text]
    in_json(LLM_INFO, "OPT-350", "1")(root / "export")
    (hole,) = unready(root)["amp"]
    assert (hole.command, hole.text) == (
        None,
        "no tp=1, which ends in KeyError: measured with mbs=1 it was oom. Measure it on a larger GPU",
    )


def test_a_degree_without_memory_is_measured_with_every_microbatch(root: Path) -> None:
    """With microbatch 1 alone, gathering names the other ones as missing, and exits with 1."""
    in_json(LLM_INFO, "OPT-350", "2")(root / "export")
    commands = {finding.command for finding in unready(root)["amp"] if "no tp=2" in finding.text}
    (command,) = commands
    assert command is not None
    assert command.startswith("python launch.py -m model=opt-350 gpu=a100-40 vm=4 tp=2 mbs=1,2,4,8 ")


def test_what_is_measured_is_gathered_and_not_measured_again(root: Path) -> None:
    in_json(SIMULATOR, *TIMES, "2", "1")(root / "export")
    write_grid(root / "profiles", "model=opt-350", "gpu=a100-40", tps=(1,), microbatches=(1, 2))
    (hole,) = unready(root)["varuna"]
    assert hole.command == (
        f"python gather.py model=opt-350 gpu=a100-40 profile_dir={root}/profiles export_root={root}/export"
    )


def test_a_directory_that_is_no_checkout_leaves_code_and_prices_unchecked(root: Path) -> None:
    for path in (*checkouts.CODE, COSTS):
        (root / "export" / path).unlink()
    found = answers(configured(root, "amp", 4))
    assert all(one.ready for one in found.values())
    assert {finding.state for one in found.values() for finding in one.shared} == {
        State.ready, State.maybe, State.unchecked,
    }  # fmt: skip


@pytest.mark.parametrize("vm", [1, 8])
def test_every_command_is_one_that_is_accepted(tmp_path: Path, vm: int) -> None:
    root = tmp_path / "a root"
    root.mkdir()
    bare = gather_config("model=opt-350", "gpu=h100-80", f"vm='{vm}'", f"export_root='{root}'", "profile_dir=profiles")
    in_json(GALVATRON / "memory_profile.json", "layertype_0", "tp_activation_per_bsz_dict", "4")(
        checkouts.lay_out(tmp_path / "other", 4)
    )
    other = configured(tmp_path / "other", "amp", 4, f"vm='{vm}'", "gpu=h100-80")
    zone = configured(tmp_path / "other", "amp", 4, f"vm='{vm}'", "exporter.zone=mine")
    commands = {
        command
        for config in (bare, other, zone)
        for one in answers(config).values()
        for finding in (*one.shared, *one.own)
        if (command := finding.command) is not None
    }
    assert len(commands) > 8
    for part in {part for command in commands for part in command.split(" && ")}:
        assert_accepted(shlex.split(part))


def assert_accepted(words: list[str]) -> None:
    assert words[0] == "python"
    assert sorted(words) == sorted({*words}), "no override is given twice"
    checked(words[2:], {"launch.py": LAUNCH, "gather.py": GATHER}[words[1]])


def test_every_planner_is_ready_with_a_gpu_that_no_bandwidth_file_knew(tmp_path: Path) -> None:
    gpu, vm = ("gpu=cpu", "gpu.name=Mine-1"), ("vm='4'",)
    places = [f"{key}={tmp_path}/{key}" for key in ("profile_dir", "network_dir", "export_root")]
    config = gather_config(*gpu, *vm, *places)
    assert not any(one.ready for one in answers(config).values())
    write_grid(tmp_path / "profile_dir", *gpu, *vm, tps=(1, 2, 4), microbatches=(1, 2, 4, 8))
    prepare(tmp_path / "network_dir")
    for ranks in (1, 2, 4):
        write(
            link_record(network_cell(*gpu, *vm, ranks=ranks, nodes=2), rate(2.0, pairs=ranks)), tmp_path / "network_dir"
        )
    for ranks in (2, 4):
        write(link_record(network_cell(*gpu, *vm, ranks=ranks), rate(9.0)), tmp_path / "network_dir")
        write(
            overlap_record(overlap_cell(*gpu, *vm, ranks=ranks), product=1.2, all_reduce=1.1), tmp_path / "network_dir"
        )
    extras(tmp_path / "profile_dir", [*map(str, range(6))])
    for name in ("sailor", "network", *planners()):
        with Inputs(gather_config(*gpu, *vm, *places, f"exporter={name}")) as inputs, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            write_files(exporter_named(name).files(inputs).files)
    assert [name for name, one in answers(config).items() if one.ready] == sorted(EVERYONE)


def extras(directory: Path, layers: list[str]) -> None:
    peaks = {mbs: {tp: dict.fromkeys(layers, 1e6) for tp in (1, 2, 4)} for mbs in (1, 2, 4, 8)}
    (directory / "varuna_profile_gpt-tiny_Mine-1.json").write_text(json.dumps(peaks))
    (directory / "oobleck_profile_gpt-tiny_Mine-1.json").write_text(json.dumps({1: dict.fromkeys(layers, 800)}))
    strategies = {
        f"{pp}_{tp}_1": {
            f"layernum[{count}]_bsz1_rank{rank}_{what}": base + count * 80 / tp
            for count in (1, 2)
            for rank in (0, pp * tp - 1)
            for what, base in (("ms", 900), ("act", 10), ("act_peak", 20))
        }
        for pp, tp in ((1, 1), (1, 2), (1, 4), (2, 1))
    }
    (directory / "memory_profile.json").write_text(json.dumps(strategies))


def test_an_export_lacks_what_its_reader_looks_up_on_one_machine(root: Path) -> None:
    """Metis looks up every power of two, also one that was never measured, and ends in KeyError."""
    in_json(SIMULATOR, *TIMES, "4")(root / "export")
    (root / "export/sailor/Planner/baselines/Metis" / OF / "mbs4_tmp1.json").unlink()
    for tp in (2, 4):
        (root / f"export/sailor/Planner/baselines/Metis/{OF}/mbs4_tmp{tp}.json").unlink()
    export = exporter_named("metis").files(Inputs(configured(root, "metis", 4)))
    assert [text.partition(":")[0] for text in export.lacking] == [f"mbs4_tmp{tp}.json" for tp in (1, 2, 4)]
    assert all("missing" in text for text in export.lacking)


def test_an_export_finds_a_file_of_another_model_beside_its_own(root: Path) -> None:
    stale = root / "export" / AMP / "profile_8.npy"
    stale.write_bytes(npy(34))
    export = exporter_named("amp").files(Inputs(configured(root, "amp", 4)))
    (said,) = export.lacking
    assert said.startswith("profile_8.npy: 34 times; the model has 26 layer ids")


def test_exports_of_the_published_data_lack_nothing_and_warn_of_nothing(root: Path) -> None:
    with warnings.catch_warnings(action="error"):
        warnings.filterwarnings("ignore", ".*is no good")
        for name in EVERYONE:
            assert exporter_named(name).files(Inputs(configured(root, name, 4))).lacking == ()
