import json
from pathlib import Path

import pytest

from sailor_exp.errors import DamagedFileError
from sailor_exp.profiles.galvatron.measurement import StageMemory, StagesMeasurement
from sailor_exp.profiles.galvatron.profile import PROFILE, file_content, read_file
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome, Record
from sailor_exp.units import MIB
from tests.build.cells import cell
from tests.build.records import ok, provenance, unmeasured

NOW = "2026-01-01T00:00:00+00:00"


def states(count: int) -> list[StageMemory]:
    """What ranks 0, 1, ... hold: so many, and as many more MiB as the rank's number."""
    return [
        StageMemory(
            model_states_bytes=(10 + rank) * MIB, activation_bytes=(5 + rank) * MIB, activation_peak_bytes=rank * MIB
        )
        for rank in range(count)
    ]


def measured(pp: int, tp: int, *num_layers: int) -> Record[StagesMeasurement]:
    by_num_layers = {str(number): states(pp * tp) for number in num_layers}
    of = cell("profile=galvatron", f"pp={pp}", f"tp={tp}")
    return ok(of, StagesMeasurement(by_num_layers=by_num_layers), provenance(finished_at=NOW))


def written(directory: Path, *records: Record[StagesMeasurement]) -> Path:
    """The file that the records of a directory make."""
    record_files.prepare(directory)
    for made in records:
        record_files.write(made, directory)
    PROFILE.written(records[-1], directory)
    return directory / "memory_profile.json"


def test_the_file_has_first_and_last_rank_of_each_strategy_that_has_numbers(tmp_path):
    lost = unmeasured(cell("profile=galvatron", "pp=1", "tp=2"), Outcome.oom)
    found = json.loads(written(tmp_path, measured(4, 2, 3, 4), lost, measured(1, 1, 1, 2)).read_text())
    assert list(found) == ["1_1_1", "4_2_1"]
    assert found["1_1_1"] == {
        f"layernum[{number}]_bsz1_rank0_{what}": value
        for number in (1, 2)
        for what, value in {"ms": 10.0, "act": 5.0, "act_peak": 0.0}.items()
    }
    assert set(found["4_2_1"]) == {
        f"layernum[{number}]_bsz1_rank{rank}_{what}"
        for number in (3, 4)
        for rank in (0, 7)
        for what in ("ms", "act", "act_peak")
    }
    assert found["4_2_1"]["layernum[3]_bsz1_rank7_act_peak"] == 7.0


def test_a_file_is_read_as_it_was_written(tmp_path):
    made = [measured(1, 1, 1, 2), measured(2, 1, 2)]
    assert read_file(written(tmp_path, *made)) == file_content(made)


def test_of_what_another_exporter_added_to_the_file_nothing_is_read(tmp_path):
    path = tmp_path / "memory_profile.json"
    layer = {"parameter_size": 12.0, "tp_activation_per_bsz_dict": {"1": 5.0}}
    path.write_text(json.dumps({"1_1_1": {"layernum[1]_bsz1_rank0_ms": 10, "note": "mine"}, "layertype_0": layer}))
    assert read_file(path) == {"1_1_1": {"layernum[1]_bsz1_rank0_ms": 10}, "layertype_0": {}}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (["1_1_1"], "holds a list, where an object is expected"),
        ({"1_1_1": 5}, "1_1_1 is the number 5, where an object is expected"),
        (
            {"1_1_1": {"layernum[1]_bsz1_rank0_ms": "ten"}},
            "1_1_1.layernum[1]_bsz1_rank0_ms is the text 'ten', where a number is expected",
        ),
    ],
)
def test_a_file_of_another_shape_is_told_with_the_place(tmp_path, content, fault):
    path = tmp_path / "memory_profile.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedFileError) as told:
        read_file(path)
    assert str(told.value) == (f"{path}: {fault}. It is left as it is: mend it or move it away, and run this again.")
