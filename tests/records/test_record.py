import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from sailor_exp.errors import RecordError, StorageError
from sailor_exp.files import whole
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.layers import profile_file
from sailor_exp.profiles.layers.summary import layers_of, memory_of, samples_of, statistics_of
from sailor_exp.records import files as record_files
from sailor_exp.records import provenance
from sailor_exp.records.record import Ending, Outcome, Record
from tests.build.cells import cell
from tests.build.measurements import measurement, part


def measured(*overrides: str, seconds: float = 0.25) -> Record:
    asked = cell("sampling.warmup=2", *overrides)
    kinds = dict.fromkeys(layers_of(asked).values())
    ranks = [measurement([part(kind, kind, seconds) for kind in kinds])] * asked.tp
    samples = samples_of(asked, ranks)
    return Record(
        outcome=Outcome.ok,
        identity=identity_of(asked),
        ending=None,
        layers=layers_of(asked),
        statistics=statistics_of(asked, samples),
        memory=memory_of(ranks),
        samples=samples,
        provenance=provenance.gather(asked, [ranks[0].device], started_at=provenance.now()),
    )


def ended(outcome: Outcome, *overrides: str) -> Record:
    asked = cell(*overrides)
    return Record(
        outcome=outcome,
        identity=identity_of(asked),
        ending=Ending(message="it ended"),
        layers=None,
        statistics=None,
        memory=None,
        samples=None,
        provenance=provenance.gather(asked, [], started_at=provenance.now()),
    )


def test_a_record_reads_back_as_it_was_written(tmp_path):
    made = measured("tp=2", "mbs=4")
    path = record_files.write(made, tmp_path)
    assert record_files.read(path) == made
    assert list(record_files.read_all(tmp_path)) == [(path, made)]


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
        (b'{"format": "sailor-exp record", "version": 2}', "has version 2; this code reads version 1"),
        (b'{"format": "sailor-exp record", "version": 1}', "outcome: Field required"),
    ],
)
def test_a_damaged_or_foreign_record_is_named_with_what_is_wrong_and_left_as_it_is(tmp_path, content, fault):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=fault) as raised:
        record_files.read(path)
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content


def test_a_negative_time_or_an_unknown_key_is_refused(tmp_path):
    path = record_files.write(measured(), tmp_path)
    content = json.loads(path.read_text())
    content["samples"]["calibration_s"][0][0] = -1.0
    content["surprise"] = 1
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="2 faults"):
        record_files.read(path)


def test_a_record_cannot_be_ok_without_numbers_nor_fail_without_a_reason():
    content = measured().model_dump()
    with pytest.raises(ValidationError, match="an ok record has"):
        Record.model_validate(content | {"memory": None})
    with pytest.raises(ValidationError, match="says how it ended"):
        Record.model_validate(content | {"outcome": "failed"})


def test_a_measurement_that_is_replaced_is_kept(tmp_path):
    first, second = measured(seconds=0.5), measured(seconds=0.25)
    record_files.write(first, tmp_path)
    path = record_files.write(second, tmp_path)
    assert record_files.read(path) == second
    (kept,) = (tmp_path / "records/superseded").glob("*.json")
    assert record_files.read(kept) == first
    assert [made for _, made in record_files.read_all(tmp_path)] == [second]


def test_an_outcome_without_numbers_is_replaced_for_good(tmp_path):
    record_files.write(ended(Outcome.failed), tmp_path)
    record_files.write(measured(), tmp_path)
    assert not (tmp_path / "records/superseded").exists()


def test_records_of_one_cell_under_two_identities_lie_side_by_side(tmp_path):
    record_files.write(measured(), tmp_path)
    record_files.write(measured("optimizer=sgd"), tmp_path)
    assert len(list(record_files.read_all(tmp_path))) == 2


def test_a_file_that_cannot_be_written_leaves_the_former_one_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("former")
    program = (
        "import resource, sys; from pathlib import Path; from sailor_exp.files.whole import write_whole\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); write_whole(Path({str(path)!r}), b'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"StorageError: cannot write {path}: File too large" in done.stderr
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file.json", "former")]


def test_a_directory_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write .*occupied/records"):
        record_files.write(measured(), tmp_path / "occupied")


def test_only_what_was_left_unfinished_long_ago_is_cleared(tmp_path):
    old, new, other = (tmp_path / name for name in (".unfinished-a", ".unfinished-b", "kept.json"))
    for path in (old, new, other):
        path.write_text("")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    whole.remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".unfinished-b", "kept.json"}


def test_the_profile_file_has_every_layer_id_in_order_and_names_its_record(tmp_path):
    made = measured("model=llama-3-8", "model.num_layers=12", "tp=2", "mbs=4")
    path = profile_file.write(made, tmp_path)
    assert path.name == "profile_LLAMA-3-8_CPU_2_4.json"
    content = json.loads(path.read_text())
    assert list(content["timing"]) == list(content["memory"]) == [str(layer) for layer in range(15)]
    assert content["timing"]["7"] == [0.25, 0.25, 0.25]
    assert set(content["memory"]["14"]) == set(profile_file.MEMORY_KEYS)
    assert all(type(count) is int for count in content["memory"]["0"].values())
    assert content["record"] == made.file_name


def test_a_cell_without_numbers_has_no_profile_file(tmp_path):
    with pytest.raises(ValueError, match="is oom: it has no numbers"):
        profile_file.write(ended(Outcome.oom), tmp_path)
    assert list(Path(tmp_path).iterdir()) == []


def test_the_identity_of_a_layers_cell_has_the_hash_that_its_method_always_had():
    """Records are found by it: a key that another profile brings must not orphan them."""
    identity = identity_of(cell("tp=2", "mbs=4"))
    assert identity.digest[:12] == "1bdd9005c477"
    assert identity.model_copy(update={"method": 1}).digest[:12] == "0f9c442eb512"
