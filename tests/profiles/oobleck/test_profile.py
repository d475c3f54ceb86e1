import json

import pytest

from sailor_exp.errors import DamagedFileError
from sailor_exp.profiles.oobleck.measurement import ActivationMeasurement
from sailor_exp.profiles.oobleck.profile import PROFILE, file_content, read_file
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome, Record
from tests.build.cells import cell
from tests.build.records import ok, provenance, unmeasured

FILE = "oobleck_profile_gpt-tiny_CPU.json"


def asked(tp: int):
    return cell("profile=oobleck", "model.num_layers=2", f"tp={tp}")


def measured(tp: int, *layer_bytes: int) -> Record[ActivationMeasurement]:
    """What each rank keeps of a layer; of the embedding it is a tenth, and one byte of the head."""
    shares = [
        {"embedding": {"act_mem_bytes": size // 10}, "layer": {"act_mem_bytes": size}, "head": {"act_mem_bytes": 1}}
        for size in layer_bytes
    ]
    measurement = PROFILE.measurement(asked(tp), shares)
    return ok(asked(tp), measurement, provenance(finished_at="2026-01-01T00:00:00+00:00"))


def test_a_record_has_the_most_of_the_ranks_kind_by_kind():
    assert measured(2, 40, 70).measured.act_mem_bytes == {"embedding": 7, "layer": 70, "head": 1}


def test_a_file_is_read_as_the_cells_that_have_numbers_by_rising_keys(tmp_path):
    record_files.prepare(tmp_path)
    made = [measured(2, 40, 50), measured(1, 90)]
    for record in (*made, unmeasured(asked(4), Outcome.oom)):
        record_files.write(record, tmp_path)
    PROFILE.written(made[0], tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == file_content(made)
    found = read_file(tmp_path / FILE)
    assert found == {1: {0: 9, 1: 90, 2: 90, 3: 1}, 2: {0: 5, 1: 50, 2: 50, 3: 1}}
    assert list(found) == [1, 2]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("1", "holds the text '1', where an object is expected"),
        ({"1": [5]}, "1 is a list, where an object is expected"),
        ({"1": {"-1": 5}}, "1 has the key '-1', where a whole number is expected"),
        ({"1": {"0": None}}, "1.0 is null, where a number is expected"),
    ],
)
def test_a_file_of_another_shape_is_told_with_the_place(tmp_path, content, fault):
    path = tmp_path / FILE
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedFileError) as told:
        read_file(path)
    assert str(told.value) == f"{path}: {fault}. It is left as it is: mend it or move it away, and run this again."
