import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sailor_exp.errors import DamagedFileError, LayerIdsError, MixedShapesError
from sailor_exp.exporters.exporter import write as write_files
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.sailor.database import Place
from sailor_exp.exporters.sailor.grid import grid_of
from sailor_exp.exporters.sailor.merge import Merged, merge
from sailor_exp.files import json_file
from sailor_exp.profiles.layers.published import CellKey, CellProfile
from tests.build.cells import gather_config
from tests.build.commands import ROOT
from tests.build.records import cell, measured

TINY = ("model=gpt-tiny",)


def place(root: Path) -> Place:
    return Place(root=root, model="gpt-tiny", gpu="CPU")


def profiles(*keys: tuple[int, int], **changes) -> dict[CellKey, CellProfile]:
    records = [(Path("r.json"), measured(cell(*TINY, tp=tp, mbs=mbs), **changes)) for tp, mbs in keys]
    return dict(grid_of(gather_config(*TINY), records, []).cells)


def merged(root: Path, cells: dict[CellKey, CellProfile], without_numbers: tuple[CellKey, ...] = ()) -> Merged:
    """What a merge made, written as an export writes it."""
    with Inputs(gather_config(*TINY, f"export_root={root}")) as inputs:
        made = merge(inputs.place, inputs.model, cells, without_numbers, inputs.shared)
        write_files(made.files)
    return made


def content(path: Path):
    return json.loads(path.read_text())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def cells_of(profile) -> set[tuple[str, str]]:
    return {(tp, mbs) for mbs, tps in profile.items() for tp in tps}


def test_the_three_files_hold_the_cells_as_sailor_reads_them(tmp_path: Path) -> None:
    cells = profiles((1, 1), (2, 1), (2, 4))
    merged(tmp_path, cells)
    profile = content(place(tmp_path).profile)
    assert cells_of(profile) == {("1", "1"), ("2", "1"), ("2", "4")}
    assert profile["4"]["2"]["5"] == list(cells[CellKey(2, 4)].times[5])
    assert content(place(tmp_path).simulator) == {"gpt-tiny": {"CPU": profile}}
    llm_info = content(place(tmp_path).llm_info)["gpt-tiny"]
    assert list(llm_info) == ["1", "2"]
    assert llm_info["2"]["5"] == cells[CellKey(2, 1)].memory[5]


def test_every_level_is_written_in_numeric_order(tmp_path: Path) -> None:
    long = gather_config("model=opt-350")
    records = [(Path("r.json"), measured(cell("model=opt-350", "vm='8'", tp=tp, mbs=16))) for tp in (8, 1)]
    records += [(Path("r.json"), measured(cell("model=opt-350", "vm='8'", tp=1, mbs=mbs))) for mbs in (8, 2)]
    grid = grid_of(long, records, [])
    of_opt = Place(root=tmp_path, model="OPT-350", gpu="CPU")
    backwards = dict(reversed(grid.cells.items()))
    write_files(merge(of_opt, long.model, backwards, [], json_file.read_object_if_there).files)
    profile = content(of_opt.profile)
    assert list(profile) == ["2", "8", "16"]
    assert list(profile["16"]) == ["1", "8"]
    assert list(profile["16"]["8"]) == [str(layer) for layer in range(26)]


def test_other_models_and_gpus_stay_to_the_byte_of_their_values(tmp_path: Path) -> None:
    other = {"Other": {"A100-40": {"1": {"1": {"10": [1e-06, 2, 3.25], "9": [0, 0, 0]}}}}}
    ours = {"gpt-tiny": {"V100-16": {"1": {"1": {"0": [1, 2, 3]}}}}}
    write(place(tmp_path).simulator, json.dumps(other | ours))
    write(place(tmp_path).llm_info, json.dumps({"Other": {"8": {"0": {"params_floats": 7, "more": None}}}}))
    merged(tmp_path, profiles((1, 1)))
    simulator = content(place(tmp_path).simulator)
    assert simulator["Other"] == other["Other"]
    assert list(simulator["Other"]["A100-40"]["1"]["1"]) == ["10", "9"]
    assert simulator["gpt-tiny"]["V100-16"] == ours["gpt-tiny"]["V100-16"]
    assert content(place(tmp_path).llm_info)["Other"] == {"8": {"0": {"params_floats": 7, "more": None}}}


def test_cells_and_tps_that_were_not_measured_again_stay_and_are_told(tmp_path: Path) -> None:
    merged(tmp_path, profiles((1, 1), (2, 1), (1, 2)))
    again = merged(tmp_path, profiles((1, 1), forward_s=dict.fromkeys(("embedding", "layer", "head"), 7.0)))
    assert again.stayed == (CellKey(1, 2), CellKey(2, 1))
    profile = content(place(tmp_path).profile)
    assert cells_of(profile) == {("1", "1"), ("2", "1"), ("1", "2")}
    assert profile["1"]["1"]["0"][0] == 7.0
    assert content(place(tmp_path).simulator)["gpt-tiny"]["CPU"] == profile
    assert list(content(place(tmp_path).llm_info)["gpt-tiny"]) == ["1", "2"]


def test_a_cell_that_no_longer_fits_is_taken_out(tmp_path: Path) -> None:
    merged(tmp_path, profiles((1, 1), (1, 2)))
    merged(tmp_path, profiles((1, 1)), (CellKey(1, 2),))
    assert cells_of(content(place(tmp_path).profile)) == {("1", "1")}


def test_cells_of_a_published_simulator_file_stay_where_there_is_no_profile_yet(tmp_path: Path) -> None:
    cells = profiles((4, 1))
    old = {"1": {"4": {str(layer): [1, 1, 1] for layer in cells[CellKey(4, 1)].times}}}
    write(place(tmp_path).simulator, json.dumps({"gpt-tiny": {"CPU": old}}))
    merged(tmp_path, profiles((1, 1)))
    assert content(place(tmp_path).profile)["1"]["4"] == old["1"]["4"]
    assert set(content(place(tmp_path).simulator)["gpt-tiny"]["CPU"]["1"]) == {"1", "4"}


def test_memory_that_differs_from_what_was_there_is_told_with_both_values(tmp_path: Path) -> None:
    merged(tmp_path, profiles((1, 1)))
    llm_info = content(place(tmp_path).llm_info)
    for layer in ("1", "2", "3", "4"):
        llm_info["gpt-tiny"]["1"][layer]["act_mem_bytes"] = 5
    llm_info["gpt-tiny"]["1"]["5"]["params_floats"] = 6
    write(place(tmp_path).llm_info, json.dumps(llm_info))
    assert merged(tmp_path, profiles((1, 1))).differences == (
        "gpt-tiny tp=1, 4 layers, 1 to 4: act_mem_bytes was 5, is 2800000",
        "gpt-tiny tp=1, layer 5: params_floats was 6, is 524544",
    )
    assert merged(tmp_path, profiles((1, 1))).differences == ()


@pytest.mark.parametrize("name", ["profile", "simulator", "llm_info"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ('{"gpt-tiny": {"CPU": ', "is not JSON, or was cut off"),
        ('{"1": NaN}', "1 is nan"),
        ("[1]", "holds a list"),
    ],
)
def test_a_damaged_file_is_named_and_all_stay_as_they_are(tmp_path: Path, name: str, text: str, fault: str) -> None:
    merged(tmp_path, profiles((1, 1)))
    damaged = getattr(place(tmp_path), name)
    damaged.write_text(text)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    with pytest.raises(DamagedFileError, match=f"{damaged.name}: {fault}"):
        merged(tmp_path, profiles((2, 1)))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


@pytest.mark.parametrize(
    "text", ['{"gpt-tiny": 3}', '{"gpt-tiny": {"CPU": [1]}}', '{"gpt-tiny": {"CPU": {"one": {}}}}']
)
def test_a_foreign_simulator_file_is_refused(tmp_path: Path, text: str) -> None:
    write(place(tmp_path).simulator, text)
    with pytest.raises(DamagedFileError, match=r"profiles_tmp\.json: .* expected"):
        merged(tmp_path, profiles((1, 1)))
    assert place(tmp_path).simulator.read_text() == text


def test_cells_that_stay_must_have_the_layers_of_the_model(tmp_path: Path) -> None:
    write(place(tmp_path).simulator, json.dumps({"gpt-tiny": {"CPU": {"2": {"1": {"0": [1, 1, 1]}}}}}))
    with pytest.raises(LayerIdsError, match="the cell tp=1 mbs=2 has 1 layer ids, none of the id 1, 2, 3, 4, 5"):
        merged(tmp_path, profiles((1, 1)))


def test_memory_of_another_shape_that_would_stay_beside_is_refused(tmp_path: Path) -> None:
    """Readers took both: tp 1 of one model, tp 4 of another."""
    merged(tmp_path, profiles((1, 1), (4, 1)))
    llm_info = content(place(tmp_path).llm_info)
    llm_info["gpt-tiny"]["4"]["1"]["params_floats"] = 3153664
    write(place(tmp_path).llm_info, json.dumps(llm_info))
    before = place(tmp_path).llm_info.read_bytes()
    both = (
        r"llm_info\.json, gpt-tiny\.4: layer 1 has 3153664 .* the configured model has 50144 \(model\.hidden_size=128"
    )
    with pytest.raises(MixedShapesError, match=both):
        merged(tmp_path, profiles((1, 1)))
    assert place(tmp_path).llm_info.read_bytes() == before


def test_parameters_that_would_rise_with_tp_are_refused_with_both_places(tmp_path: Path) -> None:
    merged(tmp_path, profiles((1, 1), (2, 1)))
    llm_info = content(place(tmp_path).llm_info)
    llm_info["gpt-tiny"]["2"]["5"]["params_floats"] = 524545
    write(place(tmp_path).llm_info, json.dumps(llm_info))
    both = r"gpt-tiny\.2: layer 5 has 524545 parameters .*llm_info\.json, gpt-tiny\.1 has 524544 at tp=1"
    with pytest.raises(MixedShapesError, match=both):
        merged(tmp_path, profiles((1, 1)))


_KILLED_AT = """
import os, signal, sys
from pathlib import Path
import sailor_exp.files.whole as whole
left = int(sys.argv[1])
original = getattr({owner}, {name!r})
def counted(*arguments, **keywords):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **keywords)
setattr({owner}, {name!r}, counted)
sys.path.insert(0, '')
from tests.exporters.sailor.test_merge import merged, profiles
merged(Path(sys.argv[2]), profiles((1, 1), (2, 1), forward_s=dict.fromkeys(("embedding", "layer", "head"), 7.0)))
"""


@pytest.mark.parametrize(("owner", "name"), [("whole.os", "fsync"), ("whole.Path", "replace")])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_merge_killed_while_writing_leaves_every_file_whole_and_no_lock(
    tmp_path: Path, owner: str, name: str, call: int
) -> None:
    merged(tmp_path, profiles((1, 1)))
    files = [place(tmp_path).profile, place(tmp_path).simulator, place(tmp_path).llm_info]
    old = [content(file) for file in files]
    code = _KILLED_AT.format(owner=owner, name=name)
    killed = subprocess.run([sys.executable, "-c", code, str(call), str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = [content(file) for file in files]
    merged(tmp_path, profiles((1, 1), (2, 1), forward_s=dict.fromkeys(("embedding", "layer", "head"), 7.0)))
    new = [content(file) for file in files]
    assert all(found in (before, after) for found, before, after in zip(left, old, new, strict=True))
    assert left != new
    assert old != new
