import dataclasses
import json
from pathlib import Path

import pytest

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.errors import DamagedFileError, LayerIdsError, MixedRecordsError, RecordError
from sailor_exp.exporters.sailor.grid import Grid, grid_of
from sailor_exp.profiles.layers import profile_file
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.layers.published import MEMORY_KEYS, CellKey
from sailor_exp.records.files import read_all
from sailor_exp.records.record import Outcome
from tests.build.cells import gather_config
from tests.build.records import FORWARD_S, cell, changed, measured, unmeasured, write_grid

TINY = ("model=gpt-tiny",)


def grid(*records, config=None, files=()) -> Grid:
    named = [(Path(f"{number}.json"), found) for number, found in enumerate(records)]
    return grid_of(config or gather_config(*TINY), named, files)


def raw_profile(path: Path, *, layers: int = 6, forward_s: float = 0.5) -> None:
    """A profile file as the published profiler writes it."""
    content = {
        "timing": {str(layer): [forward_s, 0.2, 0.1] for layer in range(layers)},
        "memory": {str(layer): dict.fromkeys(MEMORY_KEYS, 10 + layer) for layer in range(layers)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def profile_files(directory: Path):
    config = gather_config(*TINY)
    return list(profile_file.read_all(directory, config.model, config.gpu.name))


def test_every_layer_has_the_numbers_of_the_kind_that_stands_for_it() -> None:
    found = grid(measured(cell(*TINY, tp=2, mbs=4))).cells[CellKey(2, 4)]
    forward = {layer: phases.forward_s for layer, phases in found.times.items()}
    of_layer = FORWARD_S["layer"] * 4 / 2
    assert forward == pytest.approx({0: FORWARD_S["embedding"] * 2, **dict.fromkeys(range(1, 5), of_layer), 5: 0.004})
    assert [counts["params_floats"] for counts in found.memory.values()] == [278528, *[99520] * 4, 262400]


def test_layers_stand_in_numeric_order() -> None:
    opt = ("model=opt-350",)
    backwards = dict(reversed(kinds_by_layer_id(cell(*opt).model).items()))
    found = grid(measured(cell(*opt), layers=backwards), config=gather_config(*opt))
    assert list(found.cells[CellKey(1, 1)].times) == list(range(26))
    assert list(found.cells[CellKey(1, 1)].memory) == list(range(26))


def test_layers_that_attend_to_a_window_have_numbers_of_their_own() -> None:
    neo = ("model=gpt-neo-2.7",)
    found = grid(measured(cell(*neo)), config=gather_config(*neo)).cells[CellKey(1, 1)]
    assert [found.times[layer].forward_s for layer in (1, 2, 3, 4)] == [0.004, 0.003, 0.004, 0.003]


@pytest.mark.parametrize(
    ("overrides", "key", "asked", "found"),
    [
        (("gpu.name=CPU-9",), "gpu.name", "CPU", "CPU-9"),
        (("precision=bf16",), "precision", "fp32", "bf16"),
        (("optimizer=sgd",), "optimizer", "adam", "sgd"),
        (("attention=sdpa",), "attention", "unfused", "sdpa"),
        (("model.ffn_hidden_size=1024",), "model.ffn_hidden_size", "512", "1024"),
        (("model.num_layers=3",), "model.num_layers", "4", "3"),
        (("model=opt-350", "model.name=gpt-tiny"), "model.num_layers", "4", "24"),
    ],
)
def test_records_that_must_not_stand_together_are_refused_naming_both(
    overrides: tuple[str, ...], key: str, asked: str, found: str
) -> None:
    with pytest.raises(MixedRecordsError) as error:
        grid(measured(cell(*TINY)), measured(cell(*TINY, *overrides, mbs=2)))
    assert f"1.json was measured with {key}={found}; asked for is {key}={asked}, which 0.json has" in str(error.value)


def test_a_record_without_numbers_of_another_gpu_is_refused_too() -> None:
    with pytest.raises(MixedRecordsError, match=r"gpu\.name=other"):
        grid(unmeasured(cell(*TINY, "gpu.name=other"), Outcome.oom))


def test_of_records_that_differ_in_device_memory_the_newest_counts() -> None:
    large = measured(cell(*TINY, "gpu.memory_gb=16"), finished_at="2026-01-02T00:00:00+00:00")
    small = unmeasured(cell(*TINY, "gpu.memory_gb=1"), Outcome.oom, finished_at="2026-01-03T00:00:00+00:00")
    assert grid(large, small).outcome(CellKey(1, 1)) is Outcome.oom
    newer = unmeasured(cell(*TINY, "gpu.memory_gb=1"), Outcome.oom, finished_at="2026-01-01T00:00:00+00:00")
    assert grid(large, newer).outcome(CellKey(1, 1)) is Outcome.ok


@pytest.mark.parametrize("older_first", [True, False])
def test_records_of_an_older_method_are_left_out_with_a_warning(*, older_first: bool) -> None:
    newer = measured(cell(*TINY))
    older = changed(newer, method=newer.identity.method - 1, mbs=2)
    found = grid(*((older, newer) if older_first else (newer, older)))
    assert list(found.outcomes) == [CellKey(1, 1)]
    assert found.warnings == ("1 records of an older method of measuring were left out: measure those cells again",)


def test_mixed_versions_and_commits_are_warned_of() -> None:
    one = measured(cell(*TINY, mbs=1), commit="aaa", torch="2.8.0")
    other = measured(cell(*TINY, mbs=2), commit="bbb", torch="2.9.0")
    assert grid(one, other).warnings == (
        "the records were made with different commit: aaa (1 records), bbb (1 records)",
        "the records were made with different torch: 2.8.0 (1 records), 2.9.0 (1 records)",
    )
    assert grid(one, measured(cell(*TINY, mbs=2), commit="aaa", torch="2.8.0")).warnings == ()


def test_records_of_an_older_method_alone_count_with_a_warning() -> None:
    now = measured(cell(*TINY)).identity.method
    found = grid(changed(measured(cell(*TINY)), method=now - 1))
    assert list(found.outcomes) == [CellKey(1, 1)]
    (warning,) = found.warnings
    assert warning.startswith(f"1 records were measured by method {now - 1}; method {now} measures now")
    assert warning.endswith("measure those cells again")


def test_a_failed_attempt_hides_no_measurement_of_the_cell() -> None:
    good = measured(cell(*TINY, "gpu.memory_gb=16"), finished_at="2026-01-01T00:00:00+00:00")
    failed = unmeasured(cell(*TINY, "gpu.memory_gb=1"), Outcome.failed, finished_at="2026-01-02T00:00:00+00:00")
    assert grid(good, failed).outcome(CellKey(1, 1)) is Outcome.ok


def test_a_record_of_another_layer_count_than_its_model_is_refused() -> None:
    llama = ("model=llama-3-8",)
    layers = kinds_by_layer_id(cell(*llama).model)
    layers.popitem()
    with pytest.raises(LayerIdsError, match=r"0\.json: the record has 34 layer ids, none of the id 34; .* has 35"):
        grid(measured(cell(*llama), layers=layers), config=gather_config(*llama))


def test_a_record_with_a_layer_that_no_numbers_stand_for_is_refused() -> None:
    good = measured(cell(*TINY))
    with pytest.raises(RecordError, match="no numbers stand for layer '2'"):
        grid(changed(good, layers={**good.measured.layers, "2": "layer_window"}))


def test_cells_are_lost_that_failed_or_were_never_measured() -> None:
    found = grid(
        measured(cell(*TINY, tp=1, mbs=1)),
        unmeasured(cell(*TINY, tp=1, mbs=2), Outcome.oom),
        unmeasured(cell(*TINY, tp=1, mbs=4), Outcome.skipped),
        unmeasured(cell(*TINY, tp=2, mbs=1), Outcome.failed),
        unmeasured(cell(*TINY, tp=2, mbs=2), Outcome.timeout),
        unmeasured(cell(*TINY, tp=4, mbs=1), Outcome.infeasible),
    )
    assert found.lost() == {
        CellKey(2, 1): Outcome.failed,
        CellKey(2, 2): Outcome.timeout,
        CellKey(2, 4): None,
        CellKey(4, 2): None,
        CellKey(4, 4): None,
    }


def test_a_profile_file_of_another_tool_is_a_cell(tmp_path: Path) -> None:
    raw_profile(tmp_path / "profile_gpt-tiny_CPU_2_8.json", forward_s=0.25)
    found = grid(files=profile_files(tmp_path))
    assert found.cells[CellKey(2, 8)].times[3].forward_s == 0.25
    assert found.cells[CellKey(2, 8)].memory[5]["act_mem_bytes"] == 15
    assert found.foreign == {CellKey(2, 8)}
    assert found.warnings == ("1 cells come from profile files: precision and optimizer are not known of them",)


def test_a_profile_file_of_a_gpu_with_tf32_is_told_to_be_of_either_precision(tmp_path: Path) -> None:
    raw_profile(tmp_path / "profile_gpt-tiny_A100-40_1_1.json")
    config = gather_config(*TINY, "gpu=a100-40")
    (told,) = grid(config=config, files=profile_file.read_all(tmp_path, config.model, config.gpu.name)).warnings
    assert told.startswith("1 cells come from profile files: precision and optimizer are not known of them.")
    assert "A100-40 may have multiplied in TF32" in told
    assert "asked for is precision=fp32" in told


def test_a_record_counts_more_than_a_profile_file_and_that_is_said(tmp_path: Path) -> None:
    raw_profile(tmp_path / "profile_gpt-tiny_CPU_1_1.json", forward_s=9.0)
    found = grid(measured(cell(*TINY)), files=profile_files(tmp_path))
    assert found.cells[CellKey(1, 1)].times[0].forward_s == FORWARD_S["embedding"]
    assert found.warnings == ("profile_gpt-tiny_CPU_1_1.json was left out: a record holds tp=1 mbs=1",)


def test_our_own_profile_files_are_passed_over_for_their_records(tmp_path: Path) -> None:
    ours = measured(cell(*TINY))
    profile_file.write(ours, tmp_path)
    assert grid(ours, files=profile_files(tmp_path)).warnings == ()
    alone = grid(files=profile_files(tmp_path))
    assert not alone.cells
    assert "which is not there: left out" in alone.warnings[0]


def test_profile_files_of_other_models_are_passed_over(tmp_path: Path) -> None:
    raw_profile(tmp_path / "profile_gpt-tiny-2_CPU_1_1.json")
    raw_profile(tmp_path / "profile_gpt-tiny_CPU-2_1_1.json")
    assert profile_files(tmp_path) == []


def test_names_with_dots_and_dashes_are_told_apart_in_profile_files(tmp_path: Path) -> None:
    config = gather_config("model=gpt-neo-2.7", "gpu=a100-40")
    raw_profile(tmp_path / "profile_GPT-Neo-2.7_A100-40_4_16.json", layers=34)
    raw_profile(tmp_path / "profile_GPT-Neo-2x7_A100-40_4_16.json", layers=34)
    (found,) = profile_file.read_all(tmp_path, config.model, config.gpu.name)
    assert found.key == CellKey(4, 16)


def test_a_cell_that_another_tool_ran_out_of_memory_for_is_not_lost(tmp_path: Path) -> None:
    for tp, mbs in ((1, 1), (2, 1), (2, 2), (2, 4)):
        raw_profile(tmp_path / f"profile_gpt-tiny_CPU_{tp}_{mbs}.json")
    assert grid(files=profile_files(tmp_path)).lost() == {}
    (tmp_path / "profile_gpt-tiny_CPU_2_2.json").unlink()
    raw_profile(tmp_path / "profile_gpt-tiny_CPU_1_2.json")
    assert grid(files=profile_files(tmp_path)).lost() == {CellKey(2, 2): None}


def test_a_profile_file_of_too_few_layers_is_refused(tmp_path: Path) -> None:
    raw_profile(tmp_path / "profile_gpt-tiny_CPU_1_1.json", layers=5)
    with pytest.raises(LayerIdsError, match=r"profile_gpt-tiny_CPU_1_1.json: timing has 5 layer ids"):
        profile_files(tmp_path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "is empty"),
        ('{"timing": {"0": [0.1', "is not JSON, or was cut off"),
        ("[]", "holds a list, where an object is expected"),
        ('{"memory": {}}', "has no 'timing'"),
        ('{"timing": {"0": [0.1, NaN, 0.1]}, "memory": {}}', r"timing\.0\[1\] is nan"),
        ('{"timing": {"0": [0.1, 1e999, 0.1]}, "memory": {}}', r"timing\.0\[1\] is inf"),
        ('{"timing": {"0": [0.1, -0.2, 0.1]}, "memory": {}}', r"timing\.0 is -0\.2, below 0"),
        ('{"timing": {"0": [0.1, 0.2]}, "memory": {}}', r"timing.0 is \[0\.1, 0\.2\], where \[forward"),
        ('{"timing": {"first": [1, 1, 1]}, "memory": {}}', "timing has the key 'first'"),
        ('{"timing": {}, "memory": {"0": {"params_floats": 1}}}', "memory.0 has no act_output_floats"),
        ('{"timing": {"0": ["1", 1, 1]}, "memory": {}}', "timing.0 is the text '1', where a number"),
        ('{"timing": 3, "memory": {}}', "timing is the number 3, where an object is expected"),
    ],
)
def test_a_damaged_profile_file_is_named_with_its_fault(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "profile_gpt-tiny_CPU_1_1.json"
    path.write_text(content)
    with pytest.raises(DamagedFileError, match=f"profile_gpt-tiny_CPU_1_1.json: {fault}"):
        profile_files(tmp_path)
    assert path.read_text() == content


def test_the_factory_makes_records_that_read_back(tmp_path: Path) -> None:
    write_grid(tmp_path, *TINY, tps=(1, 2), microbatches=(1,))
    assert [found.identity.tp for _, found in read_all(tmp_path, "layers", LayersMeasurement)] == [1, 2]
    assert dataclasses.is_dataclass(cell(*TINY))
