import json

import pytest
from pydantic import ValidationError

from sailor_exp.errors import RecordError, StorageError
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.layers.profile import PROFILE
from sailor_exp.profiles.registry import NAMES, profile_named
from sailor_exp.records import provenance
from sailor_exp.records.files import read, read_all, read_every, write
from sailor_exp.records.record import Ending, Outcome, Record
from tests.build.cells import cell
from tests.build.measurements import DEVICE, part, share
from tests.build.reference_data import REFERENCE

LayersRecord = Record[LayersMeasurement]
STORED = REFERENCE / "demo-all/outputs"


def measured(*overrides: str, seconds: float = 0.25) -> LayersRecord:
    asked = cell("sampling.warmup=2", *overrides)
    kinds = ("embedding", "layer", "head")
    shares = [share([part(kind, kind, seconds) for kind in kinds])] * asked.tp
    return LayersRecord(
        outcome=Outcome.ok,
        identity=identity_of(asked),
        measurement=PROFILE.measurement(asked, shares),
        provenance=provenance.gather(asked, [DEVICE], started_at=provenance.now(), slurm={}),
    )


def ended(outcome: Outcome, *overrides: str) -> LayersRecord:
    asked = cell(*overrides)
    return LayersRecord(
        outcome=outcome,
        identity=identity_of(asked),
        ending=Ending(message="it ended"),
        provenance=provenance.gather(asked, [], started_at=provenance.now(), slurm={}),
    )


def read_layers(path):
    return read(path, LayersMeasurement)


def test_a_record_reads_back_as_it_was_written(tmp_path):
    record = measured("tp=2", "mbs=4")
    path = write(record, tmp_path)
    assert read_layers(path) == record
    assert list(read_all(tmp_path, "layers", LayersMeasurement)) == [(path, record)]


def test_a_record_has_a_line_for_each_key_so_that_a_person_can_read_it(tmp_path):
    lines = write(measured(), tmp_path).read_text().splitlines()
    assert [line.partition(":")[0].strip().strip('"') for line in lines if ":" in line] == [
        "format", "version", "outcome", "identity", "ending",
        "measurement", "layers", "statistics", "memory", "samples", "kernels", "provenance",
    ]  # fmt: skip


def test_a_record_says_where_it_was_made():
    made = measured().provenance
    assert made.host
    assert made.versions["torch"]
    assert made.versions["python"]
    assert made.commit is None or len(made.commit) == 40
    assert made.started_at.endswith("+00:00")
    assert made.sampling["target"] == 0.03


def test_the_slurm_job_is_part_of_the_provenance():
    environment = {"SLURM_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3", "HOME": "/root"}
    assert provenance.slurm_job(environment) == {"SLURM_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b'{"format": "sailor-exp record", "ver', "cut off"),
        (b'{"format": "sailor-exp record", "version": NaN}', "NaN"),
        (b'{"format": "sailor-exp record", "version": Infinity}', "Infinity"),
        (b"[1, 2]", "is not a sailor-exp record"),
        (b'{"timing": {}}', "is not a sailor-exp record"),
        (b'{"format": "sailor-exp record", "version": 3}', "has version 3; this code reads versions 1 to 2"),
        (b'{"format": "sailor-exp record", "version": []}', "has version \\[\\]; this code reads versions 1 to 2"),
        (b'{"format": "sailor-exp record", "version": 1}', "outcome: Field required"),
        (b'{"format": "sailor-exp record", "version": 2}', "outcome: Field required"),
    ],
)
def test_a_damaged_or_foreign_record_is_named_with_what_is_wrong_and_left_as_it_is(tmp_path, content, fault):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=fault) as raised:
        read_layers(path)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content


def test_a_negative_time_or_an_unknown_key_is_refused(tmp_path):
    path = write(measured(), tmp_path)
    content = json.loads(path.read_text())
    content["measurement"]["samples"]["calibration_s"][0][0] = -1.0
    content["surprise"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="2 faults"):
        read_layers(path)


def test_a_record_cannot_be_ok_without_numbers_nor_fail_without_a_reason():
    content = measured().model_dump()
    with pytest.raises(ValidationError, match="an ok record has"):
        LayersRecord.model_validate(content | {"measurement": None})
    with pytest.raises(ValidationError, match="says how it ended"):
        LayersRecord.model_validate(content | {"outcome": "failed"})


def test_a_record_without_numbers_says_so_where_they_are_asked_for():
    with pytest.raises(ValueError, match=r"layers_gpt-tiny_CPU_tp1_mbs1_\w+\.json is oom: it has no numbers"):
        _ = ended(Outcome.oom).measured


def test_a_measurement_that_is_replaced_is_kept(tmp_path):
    first, second = measured(seconds=0.5), measured(seconds=0.25)
    write(first, tmp_path)
    path = write(second, tmp_path)
    assert read_layers(path) == second
    (kept,) = (tmp_path / "records/superseded").glob("*.json")
    assert read_layers(kept) == first
    assert [record for _, record in read_all(tmp_path, "layers", LayersMeasurement)] == [second]


def test_an_outcome_without_numbers_is_replaced_for_good(tmp_path):
    write(ended(Outcome.failed), tmp_path)
    write(measured(), tmp_path)
    assert not (tmp_path / "records/superseded").exists()


def test_records_of_one_cell_under_two_identities_lie_side_by_side(tmp_path):
    write(measured(), tmp_path)
    write(measured("optimizer=sgd"), tmp_path)
    assert len(list(read_all(tmp_path, "layers", LayersMeasurement))) == 2


def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write .*occupied/records"):
        write(measured(), tmp_path / "occupied")


def test_records_of_every_profile_of_version_1_are_read_with_their_numbers_where_they_now_stand():
    records = [
        record
        for directory in ("gpt-tiny/CPU", "network/CPU")
        for _, record in read_every(STORED / directory, lambda name: profile_named(name).schema)
    ]
    assert {record.identity.profile for record in records} == set(NAMES)
    for record in records:
        if record.outcome is Outcome.ok:
            assert isinstance(record.measured, profile_named(record.identity.profile).schema)


def without_nulls(content):
    """The content without keys that are null: those that were added later are, in an earlier record."""
    if isinstance(content, dict):
        return {key: without_nulls(value) for key, value in content.items() if value is not None}
    return [without_nulls(value) for value in content] if isinstance(content, list) else content


def test_a_record_of_version_1_has_the_same_numbers_in_version_2(tmp_path):
    (path,) = (STORED / "gpt-tiny/CPU/records").glob("layers_*_tp2_mbs2_*.json")
    old, record = json.loads(path.read_text()), read_layers(path)
    new = json.loads(write(record, tmp_path).read_text())
    assert (old["version"], new["version"]) == (1, 2)
    for key in ("layers", "statistics", "memory", "samples"):
        assert without_nulls(new["measurement"][key]) == without_nulls(old[key])
    for key in ("outcome", "identity", "ending", "provenance"):
        assert without_nulls(new[key]) == without_nulls(old[key])


def test_a_record_of_a_profile_that_is_not_there_is_named_with_it(tmp_path):
    path = write(measured(), tmp_path)
    path.write_text(path.read_text().replace('"profile": "layers"', '"profile": "latency"'))
    with pytest.raises(RecordError, match="is of profile=latency, which this code does not have"):
        list(read_every(tmp_path, lambda name: profile_named(name).schema))
    assert list(read_all(tmp_path, "layers", LayersMeasurement)) == []
