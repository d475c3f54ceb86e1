"""Each exporter against what the published one made of the same data: equal, but where that one is wrong."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest

from sailor_exp.errors import (
    FitError,
    LayerIdsError,
    MissingCellError,
    MissingInputError,
    MixedShapesError,
    UnfitDegreeError,
)
from sailor_exp.profiles.layers.published import MEMORY_KEYS
from tests.build.reference_data import PUBLISHED, differing, expected, exported, inputs, lay_out, published

MIB = 2**20
PLANNERS = ("amp", "galvatron", "metis", "oobleck", "piper", "varuna")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lay_out(tmp_path)
    return tmp_path


def rewrite(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def published_times(mbs: str) -> Any:
    return published("profiles_tmp.json")["OPT-350"]["A100-40"][mbs]


def times_file(root: Path) -> Path:
    return root / "export/sailor/Planner/simulations/profiles_tmp.json"


@pytest.mark.parametrize("vm", [1, 2, 4])
def test_amp_metis_and_oobleck_equal_the_published_exporters(root: Path, vm: int) -> None:
    assert differing(exported(root, "amp", vm), expected("AMP")) == {}
    assert differing(exported(root, "metis", vm), expected("Metis")) == {}
    assert differing(exported(root, "oobleck", vm), expected("Oobleck", vm)) == {}


def test_varuna_equals_the_published_exporter_where_that_takes_the_right_tp(root: Path) -> None:
    assert differing(exported(root, "varuna", 4), expected("Varuna", 4)) == {}


@pytest.mark.parametrize("vm", [1, 2, 4])
def test_varuna_reads_peak_memory_at_the_tp_of_the_vm(root: Path, vm: int) -> None:
    (profile,) = exported(root, "varuna", vm).values()
    peaks = published("varuna_profile_OPT-350.json")
    for layer, microbatches in profile.items():
        for mbs, numbers in microbatches.items():
            assert numbers["mem_required"] == peaks[mbs][str(vm)][layer]


def varuna_halves(profile: dict[str, dict[str, object]]) -> list[int]:
    """Microbatches that Varuna looks up for every layer (auto_config.py, get_microbatch_size)."""
    mbs, read = float(max(int(mbs) for mbs in profile["0"])), []
    while mbs >= 1:
        read.append(int(mbs))
        assert all(str(int(mbs)) in microbatches for microbatches in profile.values()), mbs
        mbs /= 2
    assert mbs == 0.5, f"{mbs * 2} is looked up"
    return read


def test_varuna_leaves_out_a_largest_microbatch_that_one_layer_lacks(root: Path) -> None:
    """As OPT-350 on GH-96: layers 0 to 24 at microbatch 32, and the head only at less."""
    rewrite(root / "profiles/varuna_profile_OPT-350_A100-40.json", lambda peaks: peaks["8"]["2"].pop("25"))
    with pytest.warns(UserWarning, match="no peak memory at tp=2 mbs=8 of layer 25: left out"):
        (profile,) = exported(root, "varuna", 2).values()
    assert varuna_halves(profile) == [4, 2, 1]
    assert {tuple(microbatches) for microbatches in profile.values()} == {("1", "2", "4")}


def test_varuna_leaves_out_a_microbatch_that_halving_does_not_reach(root: Path) -> None:
    rewrite(times_file(root), lambda models: models["OPT-350"]["A100-40"].update({"12": published_times("8")}))
    rewrite(root / "profiles/varuna_profile_OPT-350_A100-40.json", lambda peaks: peaks.update({"12": peaks["8"]}))
    with pytest.warns(UserWarning, match="mbs=12 is no power of two: left out"):
        (profile,) = exported(root, "varuna", 2).values()
    assert varuna_halves(profile) == [8, 4, 2, 1]


def test_varuna_refuses_a_hole_below_its_largest_microbatch_and_says_what_fills_it(root: Path) -> None:
    rewrite(times_file(root), lambda models: models["OPT-350"]["A100-40"]["4"].pop("1"))
    with pytest.raises(MissingCellError, match=r"lacks the cell tp=1 mbs=4: .*halves.* vm=1 tp=1 mbs=4`"):
        exported(root, "varuna", 1)


def test_varuna_names_every_hole_in_the_peak_memory_and_what_fills_it(root: Path) -> None:
    def without(peaks) -> None:
        del peaks["2"]["2"]["7"], peaks["4"]["2"]["25"], peaks["4"]["2"]["3"]

    rewrite(root / "profiles/varuna_profile_OPT-350_A100-40.json", without)
    holes = "the peak memory of layer 7 at tp=2 mbs=2, of layer 3, 25 at tp=2 mbs=4"
    with pytest.raises(MissingInputError, match=rf"{holes}.*profile=varuna model=opt-350 .*vm=2 tp=2 mbs=2,4`"):
        exported(root, "varuna", 2)


def test_varuna_refuses_a_layer_without_peak_memory_at_microbatch_1(root: Path) -> None:
    rewrite(root / "profiles/varuna_profile_OPT-350_A100-40.json", lambda peaks: peaks["1"]["2"].pop("7"))
    with pytest.raises(MissingInputError, match=r"layer 7 at tp=2 mbs=1.*profile=varuna"):
        exported(root, "varuna", 2)


def test_piper_differs_from_the_published_exporter_in_communication_alone(root: Path) -> None:
    found = differing(exported(root, "piper"), expected("Piper"))
    assert {place[-1] for place in found} == {"communicationCost"}
    assert len(found) == 3 * 25


def test_piper_counts_what_crosses_an_edge_for_the_whole_microbatch(root: Path) -> None:
    (graphs,) = exported(root, "piper").values()
    outputs = [layer["act_output_bytes"] for layer in published("llm_info.json")["OPT-350"]["1"].values()]
    for mbs, graph in graphs.items():
        assert [edge["communicationCost"] for edge in graph["edges"]] == [size * int(mbs) for size in outputs[:-1]]


def test_piper_counts_device_memory_in_units_of_2_to_the_30(root: Path) -> None:
    (graphs,) = exported(root, "piper").values()
    assert {graph["maxMemoryPerDevice"] for graph in graphs.values()} == {40 * 2**30}


@pytest.mark.parametrize(("exporter", "name"), [("piper", "profile.json"), ("metis", "mbs1_tmp16.json")])
def test_a_tp_of_two_digits_is_exported(root: Path, exporter: str, name: str) -> None:
    def add_tp_16(models) -> None:
        for cells in models["OPT-350"]["A100-40"].values():
            cells["16"] = cells["4"]

    rewrite(times_file(root), add_tp_16)

    def add_memory_of_tp_16(models) -> None:
        parameters = {"0": 5373952, **dict.fromkeys(map(str, range(1, 25)), 793024), "25": 3278848}
        models["OPT-350"]["16"] = {
            layer: {**counts, "params_floats": parameters[layer]} for layer, counts in models["OPT-350"]["8"].items()
        }

    rewrite(root / "export/sailor/Planner/llm_info.json", add_memory_of_tp_16)
    files = exported(root, exporter)
    assert name in files
    if exporter == "piper":
        degrees = {tuple(node["TMPCs"]) for graph in files[name].values() for node in graph["nodes"]}
        assert degrees == {("1", "2", "4", "16")}


@pytest.mark.parametrize("exporter", ["metis", "piper"])
def test_metis_and_piper_refuse_a_grid_with_a_lost_cell(root: Path, exporter: str) -> None:
    rewrite(times_file(root), lambda models: models["OPT-350"]["A100-40"]["2"].pop("4"))
    with pytest.raises(MissingCellError, match=r"the cell tp=4 mbs=2: .*tp=4 mbs=2`"):
        exported(root, exporter)


@pytest.mark.parametrize("exporter", ["metis", "piper"])
def test_a_cell_that_memory_may_not_hold_is_not_lost(root: Path, exporter: str) -> None:
    rewrite(times_file(root), lambda models: models["OPT-350"]["A100-40"]["8"].pop("1"))
    assert exported(root, exporter)


def test_amp_refuses_a_tp_of_the_vm_that_was_not_measured_at_microbatch_1(root: Path) -> None:
    rewrite(times_file(root), lambda models: models["OPT-350"]["A100-40"]["1"].pop("2"))
    with pytest.raises(MissingCellError, match="the cell tp=2 mbs=1"):
        exported(root, "amp", 4)


def without_tp_1(root: Path) -> None:
    """Times of a GPU on which tp 1 ran out of memory; llm_info keeps the memory that another GPU measured."""

    def drop(models) -> None:
        for cells in models["OPT-350"]["A100-40"].values():
            del cells["1"]

    rewrite(times_file(root), drop)


def test_amp_names_the_choice_where_tp_1_cannot_fit(root: Path) -> None:
    without_tp_1(root)
    with pytest.raises(MissingCellError, match=r"the cell tp=1 mbs=1: .*exporter\.infinite_tps=\[1\] "):
        exported(root, "amp")


def test_amp_offers_every_tp_that_cannot_fit_at_once(root: Path) -> None:
    def drop(models) -> None:
        for cells in models["OPT-350"]["A100-40"].values():
            cells.pop("1", None)
            cells.pop("2", None)

    rewrite(times_file(root), drop)
    offer = r"exporter\.infinite_tps=\[1,2\] "
    with pytest.raises(MissingCellError, match=offer):
        exported(root, "amp", 4)
    with pytest.warns(UserWarning, match="infinities"), pytest.raises(MissingCellError, match=offer):
        exported(root, "amp", 4, "exporter.infinite_tps=[1]")


def test_amp_does_not_offer_infinity_where_it_would_be_refused(root: Path) -> None:
    without_tp_1(root)
    rewrite(root / "export/sailor/Planner/llm_info.json", lambda models: models["OPT-350"].pop("1"))
    with pytest.raises(MissingCellError) as refused:
        exported(root, "amp", 4)
    assert "infinite" not in str(refused.value)


def test_amp_does_not_offer_infinity_for_a_cell_that_fits(root: Path) -> None:
    rewrite(times_file(root), lambda models: models["OPT-350"]["A100-40"]["1"].pop("2"))
    with pytest.raises(MissingCellError) as refused:
        exported(root, "amp")
    assert "infinite" not in str(refused.value)


def test_amp_writes_infinities_for_a_tp_that_the_user_says_cannot_fit_and_what_follows(root: Path) -> None:
    without_tp_1(root)
    with pytest.warns(UserWarning, match=r"profile_1\.npy holds infinities.*infinitely slow.*NaN"):
        files = exported(root, "amp", 4, "exporter.infinite_tps=[1]")
    assert files["profile_1.npy"] == [math.inf] * 26
    assert differing({name: files[name] for name in ("profile_2.npy", "profile_4.npy")}, expected("AMP")).keys() == {
        ("profile_1.npy", str(layer)) for layer in range(26)
    }


def test_amp_refuses_infinity_for_a_tp_that_fits(root: Path) -> None:
    with pytest.raises(
        UnfitDegreeError, match=r"infinite_tps names tp=2, .*profiles_tmp\.json has numbers of tp=2 mbs=8: it fits"
    ):
        exported(root, "amp", 4, "exporter.infinite_tps=[2]")


def test_amp_refuses_infinity_for_a_tp_without_memory_where_its_reader_ends(root: Path) -> None:
    without_tp_1(root)
    rewrite(root / "export/sailor/Planner/llm_info.json", lambda models: models["OPT-350"].pop("1"))
    with pytest.raises(UnfitDegreeError, match=r"llm_info\.json has no memory of OPT-350 at tp=1"):
        exported(root, "amp", 4, "exporter.infinite_tps=[1]")


@pytest.mark.parametrize("vm", [1, 2, 4])
def test_galvatron_computes_as_the_published_exporter(root: Path, vm: int) -> None:
    ours, theirs = exported(root, "galvatron", vm), expected("Galvatron", vm)
    assert differing(ours["compute_profile.json"], theirs["compute_profile.json"]) == {}


def test_galvatron_without_tp_1_is_refused_by_the_name_of_the_cell(root: Path) -> None:
    without_tp_1(root)
    with pytest.raises(MissingCellError, match="the cell tp=1 mbs=1"):
        exported(root, "galvatron")


@pytest.mark.parametrize("vm", [1, 2, 4])
def test_galvatron_all_reduce_is_bus_bandwidth(root: Path, vm: int) -> None:
    ours, theirs = exported(root, "galvatron", vm)["hw_prof.json"], expected("Galvatron", vm)["hw_prof.json"]
    with_a_fit_of_their_own = {"allreduce_size_4_consec_1"} if vm == 4 else set()
    for key in theirs.keys() - with_a_fit_of_their_own:
        ranks = int(key.split("_")[2]) if key.startswith("allreduce") else None
        factor = 2 * (ranks - 1) / ranks if ranks else 1
        assert ours[key] == pytest.approx(factor * theirs[key], rel=1e-9), key
    assert ours.keys() == theirs.keys()


def test_galvatron_takes_the_fit_of_as_many_ranks_as_reduce(root: Path) -> None:
    ours = exported(root, "galvatron", 4)["hw_prof.json"]["allreduce_size_4_consec_1"]
    a, b, c = published("network_coeffs.json")["intra"]["A100-40"]["4"][0]
    bandwidths = []
    for message in (16, 32, 64, 128, 256):
        part = message * MIB / 4
        x = math.log2(part / 1e6)
        seconds = 6 * part / 1e9 / (a * x * x + b * x + c)
        bandwidths.append(message / 1024 / seconds)
    assert ours == pytest.approx(1.5 * sum(bandwidths) / 5, rel=1e-9)


def test_galvatron_activation_is_that_of_one_sample_in_each_strategy(root: Path) -> None:
    profile = exported(root, "galvatron")["memory_profile.json"]
    activations = profile["layertype_0"]["tp_activation_per_bsz_dict"]
    assert activations == pytest.approx({"1": 336.02, "2": 176.02, "4": 96.52}, abs=0.01)
    assert profile["layertype_0"]["parameter_size"] == pytest.approx(12_596_224 * 4 / MIB, rel=1e-3)


def test_galvatron_memory_around_the_layers_is_that_of_tp_1(root: Path) -> None:
    raw = published("galvatron_memory_raw_OPT-350_A100-40.json")["1_1_1"]
    states = [raw[f"layernum[{layers}]_bsz1_rank0_ms"] for layers in (1, 2)]
    kept = [raw[f"layernum[{layers}]_bsz1_rank0_act"] for layers in (1, 2)]
    assert exported(root, "galvatron")["memory_profile.json"]["other_memory_pp_off"] == pytest.approx(
        {
            "model_states": states[0] - (states[1] - states[0]),
            "activation": raw["layernum[1]_bsz1_rank0_act_peak"] - (kept[1] - kept[0]),
        }
    )


def test_galvatron_stages_hold_what_stands_around_the_layers_between_them(root: Path) -> None:
    """The first stage of the published runs holds no layer: 842 MiB are the embedding's states, 12 what it keeps."""
    profile = exported(root, "galvatron")["memory_profile.json"]
    first, last = profile["other_memory_pp_on_first"], profile["other_memory_pp_on_last"]
    assert first == pytest.approx({"model_states": 842.035, "activation": 12.031}, abs=1e-3)
    together = first["model_states"] + last["model_states"]
    assert together == pytest.approx(profile["other_memory_pp_off"]["model_states"], rel=0.03)


def test_galvatron_memory_keeps_the_strategies_it_comes_from(root: Path) -> None:
    profile = exported(root, "galvatron")["memory_profile.json"]
    raw = published("galvatron_memory_raw_OPT-350_A100-40.json")
    assert {name: profile[name] for name in raw} == raw


def test_galvatron_names_the_strategy_that_is_not_there(root: Path) -> None:
    rewrite(root / "profiles/memory_profile.json", lambda strategies: strategies.pop("1_1_1"))
    with pytest.raises(MissingInputError, match=r"the strategy 1_1_1 is not there.*profile=galvatron"):
        exported(root, "galvatron")


def test_galvatron_refuses_a_profile_without_a_tp_that_its_reader_asks_for(root: Path) -> None:
    rewrite(root / "profiles/memory_profile.json", lambda strategies: strategies.pop("1_4_1"))
    with pytest.raises(MissingInputError, match=r"the strategy 1_4_1, .*4 GPUs or more.* vm=4 pp=1,2,4 tp=1,2,4`"):
        exported(root, "galvatron", 4)


def test_galvatron_advises_no_max_nodes_that_the_command_refuses(root: Path) -> None:
    rewrite(root / "profiles/memory_profile.json", lambda strategies: strategies.pop("1_2_1"))
    with pytest.raises(MissingInputError, match=r"the strategy 1_2_1, .*2 GPUs or more") as raised:
        exported(root, "galvatron", 2)
    assert "max_nodes" not in str(raised.value)


def test_galvatron_says_where_a_profile_of_smaller_machines_ends_its_reader(root: Path) -> None:
    rewrite(root / "profiles/memory_profile.json", lambda strategies: strategies.pop("1_4_1"))
    said = r"1_4_1.*KeyError: 4 for 4 GPUs or more.* gpu=a100-40 vm=4 pp=1,2,4 tp=1,2,4 .*exporter\.max_nodes=3"
    with pytest.warns(UserWarning, match=said):
        profile = exported(root, "galvatron", 2)["memory_profile.json"]
    assert list(profile["layertype_0"]["tp_activation_per_bsz_dict"]) == ["1", "2"]


@pytest.mark.parametrize(("vm", "max_nodes", "needed"), [(4, 3, ["1_1_1", "1_2_1"]), (1, 1, ["1_1_1"])])
def test_galvatron_needs_no_more_tp_than_its_largest_group_has_gpus(
    root: Path, vm: int, max_nodes: int, needed: list[str]
) -> None:
    def only_needed(strategies) -> None:
        for name in strategies.keys() - {*needed, "2_1_1"}:
            del strategies[name]

    rewrite(root / "profiles/memory_profile.json", only_needed)
    with warnings.catch_warnings(action="error"):
        files = exported(root, "galvatron", vm, f"exporter.max_nodes={max_nodes}")
    assert len(files) == 3


def test_galvatron_names_the_fit_that_is_not_there(root: Path) -> None:
    with pytest.raises(MissingInputError, match=r"inter.A100-40.8 is not there.*profile=network"):
        exported(root, "galvatron", 8)


def test_galvatron_needs_no_overlap_of_one_gpu(root: Path) -> None:
    """There is nothing to measure: profile=overlap refuses ranks=1."""
    (root / "export/sailor/Planner/baselines/Galvatron/overlap_coe_dicts.json").unlink()
    assert exported(root, "galvatron", 1)["hw_prof.json"]["overlap_coe"] == 1.0


def test_galvatron_names_the_overlap_coefficient_that_is_not_there(root: Path) -> None:
    file = root / "export/sailor/Planner/baselines/Galvatron/overlap_coe_dicts.json"
    rewrite(file, lambda coefficients: coefficients["A100-40"].pop("2"))
    with pytest.raises(MissingInputError, match=r"A100-40.2 is not there.*profile=overlap"):
        exported(root, "galvatron", 2)


def test_oobleck_all_reduce_is_never_negative_where_the_fit_is_and_that_is_said(root: Path) -> None:
    """A message of 48 bytes: the fitted bandwidth for four pairs is -11 GB/s there."""

    def small_embedding(models) -> None:
        models["OPT-350"]["4"]["0"]["params_bytes"] = 6144

    rewrite(root / "export/sailor/Planner/llm_info.json", small_embedding)
    with pytest.warns(UserWarning, match="Oobleck: all-reduces of 1 layers.*48 B.*inter fit of A100-40 for 4"):
        (profile,) = exported(root, "oobleck", 4).values()
    seconds = list(profile["1"]["data"]["0"]["ar_across"].values())
    assert seconds[0] == 0.0
    assert min(seconds[1:]) > 0
    assert seconds == sorted(seconds)


def test_oobleck_refuses_a_fit_without_any_bandwidth(root: Path) -> None:
    network = root / "export/sailor/providers/network_coeffs_all_homo.json"
    rewrite(network, lambda fits: fits["inter"]["A100-40"].update({"4": [[0.0, 0.0, -1.0], 1.0]}))
    with pytest.raises(FitError, match="inter fit of A100-40 for 4 concurrent pairs gives -1 GB/s"):
        exported(root, "oobleck", 4)


@pytest.mark.parametrize("exporter", PLANNERS)
def test_a_model_of_35_layers_loses_none_of_them(root: Path, exporter: str) -> None:
    """As LLAMA has: embedding, 32 layers, final norm, head. The published head of it was dropped."""
    overrides = ("model.name=LLAMA-3-8", "model.num_layers=32", "model.separate_final_norm=true")

    def lengthen(layers):
        head = layers["25"]
        return {**{str(layer): layers[str(min(layer, 24))] for layer in range(34)}, "34": head}

    models = published("profiles_tmp.json")["OPT-350"]["A100-40"]
    times = {mbs: {tp: lengthen(layers) for tp, layers in cells.items()} for mbs, cells in models.items()}
    memory = {tp: lengthen(layers) for tp, layers in published("llm_info.json")["OPT-350"].items()}
    times_file(root).write_text(json.dumps({"LLAMA-3-8": {"A100-40": times}}))
    (root / "export/sailor/Planner/llm_info.json").write_text(json.dumps({"LLAMA-3-8": memory}))
    peaks = published("varuna_profile_OPT-350.json")
    lengthened = {mbs: {tp: lengthen(layers) for tp, layers in peaks[mbs].items()} for mbs in ("1", "2", "4", "8")}
    (root / "profiles/varuna_profile_LLAMA-3-8_A100-40.json").write_text(json.dumps(lengthened))
    kept = {tp: lengthen(layers) for tp, layers in published("oobleck_profile_OPT-350.json").items()}
    (root / "profiles/oobleck_profile_LLAMA-3-8_A100-40.json").write_text(json.dumps(kept))

    files = exported(root, exporter, 4, *overrides)

    ids = [str(layer) for layer in range(35)]
    head_forward = times["1"]["4"]["34"][0]
    match exporter:
        case "amp":
            assert [len(forward) for forward in files.values()] == [35, 35, 35]
            assert files["profile_4.npy"][-1] == head_forward
        case "varuna":
            assert list(files["profile_4.json"]) == ids
        case "oobleck":
            assert list(files["profile_4.json"]["1"]["data"]) == ids
            assert files["profile_4.json"]["1"]["num_layers"] == 35
        case "metis":
            assert {file["model"]["num_layers"] for file in files.values()} == {35}
        case "piper":
            nodes = files["profile.json"]["1"]["nodes"]
            assert [node["name"] for node in nodes] == ["Embedding", *["Transformer"] * 32, "RMS", "Head"]
        case "galvatron":
            embedding = times["1"]["1"]["0"][0]
            other = files["compute_profile.json"]["layertype_other_0"]
            assert other == pytest.approx((embedding + times["1"]["1"]["34"][0]) * 1e3)


def test_numbers_of_microbatches_and_tps_are_compared_as_numbers(root: Path) -> None:
    """As text "16" stands before "8"."""

    def add_mbs_16(models) -> None:
        models["OPT-350"]["A100-40"]["16"] = models["OPT-350"]["A100-40"]["8"]

    rewrite(times_file(root), add_mbs_16)
    (profile,) = exported(root, "oobleck", 4).values()
    assert list(profile) == ["1", "2", "4", "8", "16"]


def test_sizes_come_from_the_data_and_not_from_the_configured_architecture(root: Path) -> None:
    (of_ours,) = exported(root, "piper").values()
    (of_another,) = exported(root, "piper", 4, "model.seq_length=512").values()
    assert of_another == of_ours


@pytest.mark.parametrize("exporter", PLANNERS)
def test_a_shape_that_is_not_the_configured_one_is_refused_with_both_sources(root: Path, exporter: str) -> None:
    with pytest.raises(MixedShapesError) as refused:
        exported(root, exporter, 4, "model.ffn_hidden_size=2048")
    assert "llm_info.json, OPT-350.1: layer 1 has 12596224 parameters" in str(refused.value)
    assert "the configured model has 8399872" in str(refused.value)
    assert "ffn_hidden_size=2048" in str(refused.value)


def test_two_shapes_under_one_name_are_refused_on_export(root: Path) -> None:
    """tp 1 of one model, tp 4 of another: 49984 and 3153664 parameters."""

    def of_another(models) -> None:
        for layer in range(1, 25):
            models["OPT-350"]["1"][str(layer)]["params_floats"] = 49984

    rewrite(root / "export/sailor/Planner/llm_info.json", of_another)
    with pytest.raises(MixedShapesError, match=r"OPT-350\.1: layer 1 has 49984 parameters.* has 12596224"):
        exported(root, "piper")


def test_parameters_of_a_head_that_rise_with_tp_are_refused_on_export(root: Path) -> None:
    def of_another(models) -> None:
        models["OPT-350"]["4"]["25"]["params_floats"] = 51513345

    rewrite(root / "export/sailor/Planner/llm_info.json", of_another)
    with pytest.raises(MixedShapesError, match=r"OPT-350\.4: layer 25 has 51513345 .*OPT-350\.2 has 25823232"):
        exported(root, "piper")


def test_a_published_model_without_a_language_model_head_is_exported(root: Path) -> None:
    """As GPT-Neo-2.7 and LLAMA-3-8 are published: the head has a norm alone, at every tp."""

    def without_head(models) -> None:
        for layers in models["OPT-350"].values():
            layers["25"]["params_floats"] = 2048

    rewrite(root / "export/sailor/Planner/llm_info.json", without_head)
    assert exported(root, "piper")


def test_a_database_of_another_layer_count_than_the_model_is_refused(root: Path) -> None:
    with pytest.raises(LayerIdsError, match=r"26 layer ids, none of the id 26; the configured model has 27, 0 to 26"):
        _ = inputs(root, "amp", 4, "model.num_layers=25").database


def test_all_keys_of_the_published_memory_are_read() -> None:
    layer = json.loads((PUBLISHED / "llm_info.json").read_text())["OPT-350"]["1"]["0"]
    assert set(layer) == set(MEMORY_KEYS)
