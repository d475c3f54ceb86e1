import json

import pytest

from sailor_exp.errors import DamagedFileError
from sailor_exp.profiles.varuna.measurement import PeakMeasurement
from sailor_exp.profiles.varuna.profile import PROFILE, file_content, read_file
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome, Record
from tests.build.cells import cell
from tests.build.records import ok, provenance, unmeasured

FILE = "varuna_profile_gpt-tiny_CPU.json"


def asked(tp: int, mbs: int):
    return cell("profile=varuna", "model.num_layers=2", f"tp={tp}", f"mbs={mbs}")


def measured(tp: int, mbs: int, layer_bytes: int) -> Record[PeakMeasurement]:
    """Embedding and head take a tenth of the layer."""
    counts = {"embedding": layer_bytes // 10, "layer": layer_bytes, "head": layer_bytes // 10}
    measurement = PROFILE.measurement(
        asked(tp, mbs), [{kind: {"peak_bytes": count, "lasting_bytes": 1} for kind, count in counts.items()}]
    )
    return ok(asked(tp, mbs), measurement, provenance(finished_at="2026-01-01T00:00:00+00:00"))


def test_a_record_has_the_most_of_the_ranks_kind_by_kind():
    first, second = (
        {"layer": {"peak_bytes": peak, "lasting_bytes": lasting}, "head": {"peak_bytes": 5, "lasting_bytes": 5}}
        for peak, lasting in ((7, 2), (6, 3))
    )
    found = PROFILE.measurement(asked(2, 1), [first, second])
    assert found.peak_bytes == {"layer": 7, "head": 5}
    assert found.lasting_bytes == {"layer": 3, "head": 5}


def test_a_file_is_read_as_the_cells_that_have_numbers_by_rising_keys(tmp_path):
    record_files.prepare(tmp_path)
    made = [measured(2, 16, 50), measured(1, 2, 90), measured(2, 2, 40)]
    for record in (*made, unmeasured(asked(1, 16), Outcome.oom)):
        record_files.write(record, tmp_path)
    PROFILE.written(made[0], tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == file_content(made)
    found = read_file(tmp_path / FILE)
    assert found == {
        2: {1: {0: 9, 1: 90, 2: 90, 3: 9}, 2: {0: 4, 1: 40, 2: 40, 3: 4}},
        16: {2: {0: 5, 1: 50, 2: 50, 3: 5}},
    }
    assert list(found) == [2, 16]


def test_keys_are_read_by_their_number_whatever_their_order(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"16": {"2": {"10": 1, "9": 2.5}}, "2": {}}))
    found = read_file(tmp_path / FILE)
    assert found == {2: {}, 16: {2: {9: 2.5, 10: 1}}}
    assert (list(found), list(found[16][2])) == ([2, 16], [9, 10])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([1], "holds a list, where an object is expected"),
        ({"1": {"1": 5}}, "1.1 is the number 5, where an object is expected"),
        ({"1": {"one": {}}}, "1 has the key 'one', where a whole number is expected"),
        ({"one": {}}, "the file has the key 'one', where a whole number is expected"),
        ({"1": {"1": {"0": -1}}}, "1.1.0 is -1, below 0"),
        ({"1": {"1": {"0": True}}}, "1.1.0 is true, where a number is expected"),
    ],
)
def test_a_file_of_another_shape_is_told_with_the_place(tmp_path, content, fault):
    path = tmp_path / FILE
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedFileError) as told:
        read_file(path)
    assert str(told.value) == f"{path}: {fault}. It is left as it is: mend it or move it away, and run this again."


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / FILE)
