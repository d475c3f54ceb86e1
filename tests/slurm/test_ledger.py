"""What was submitted, on disk: written, read, forgotten, damaged, and held by another launcher."""

import subprocess
import sys
from pathlib import Path

import pytest

from sailor_exp.errors import LockError
from sailor_exp.slurm import ledger as ledger_module
from sailor_exp.slurm.ledger import Ledger, LedgerError, LedgerJob, Submission, job_variables, latest_jobs, made_in
from tests.build.cells import cell
from tests.build.records import measured
from tests.conftest import ROOT


def submission(name: str, *jobs: list[str], job_id: str | None = "11", at: str = "2026-01-01") -> Submission:
    """A submission with the records of each of its jobs."""
    return Submission(
        name=name,
        job_id=job_id,
        jobs=[LedgerJob(records=records) for records in jobs],
        request={"time_min": 60},
        folder=f"/jobs/{name}",
        code="/code",
        commit=None,
        dirty=None,
        submitted_at=at,
    )


def test_what_is_written_is_read_oldest_first(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.read() == []
    late, early, beside = submission("a", ["x"], at="2026-02"), submission("c", ["x"]), submission("b", ["x"])
    for each in (late, early, beside):
        ledger.write(each)
    assert ledger.read() == [beside, early, late]


def test_a_submission_that_is_written_again_takes_the_place_of_what_was_known(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(submission("a", ["x"], job_id=None))
    ledger.write(submission("a", ["x"], job_id="12"))
    assert [each.job_id for each in ledger.read()] == ["12"]


def test_what_is_forgotten_is_gone_and_the_others_stay(tmp_path):
    ledger = Ledger(tmp_path)
    kept, refused = submission("a", ["x"]), submission("b", ["y"])
    ledger.write(kept)
    ledger.write(refused)
    ledger.forget(refused)
    ledger.forget(refused)
    assert ledger.read() == [kept]


def test_a_job_of_several_has_an_index_in_its_id_and_its_log():
    alone, array = submission("a", ["x"]), submission("b", ["x"], ["y"])
    assert (alone.id_of(0), alone.log_of(0)) == ("11", Path("/jobs/a/11_0_log.out"))
    assert (array.id_of(1), array.log_of(1)) == ("11_1", Path("/jobs/b/11_1_0_log.out"))
    with pytest.raises(ValueError, match="submission c has no job id yet"):
        submission("c", ["x"], job_id=None).id_of(0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        ('{"format": "sailor-exp record"}', "Input should be 'sailor-exp submission'"),
    ],
)
def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path, text, fault):
    ledger = Ledger(tmp_path)
    ledger.write(submission("a", ["x"]))
    path = tmp_path / "ledger/b.json"
    path.write_text(text)
    with pytest.raises(LedgerError) as told:
        ledger.read()
    expected = f"{path}: cannot be read as a sailor-exp submission: {fault}. If its jobs no longer matter, remove it."
    assert str(told.value) == expected
    assert path.read_text() == text


def test_of_each_record_the_last_job_counts_and_each_job_once():
    first, second = submission("a", ["x", "y"], ["z"]), submission("b", ["y", "w"])
    found = latest_jobs([first, second], ["x", "y", "z"])
    assert sorted((job.name, index) for job, index in found) == [("a", 0), ("a", 1), ("b", 0)]
    assert latest_jobs([first, second], ["y", "w"]) == [(second, 0)]
    assert latest_jobs([first, second], ["unheard"]) == []


def test_a_ledger_that_another_launcher_holds_is_waited_for_and_then_refused(tmp_path, monkeypatch):
    held = "print('held', flush=True); sys.stdin.read()"
    code = "import sys, pathlib; from sailor_exp.slurm.ledger import Ledger\n"
    code += f"with Ledger(pathlib.Path(sys.argv[1])).locked():\n {held}"
    monkeypatch.setattr(ledger_module, "_LONGEST_SUBMISSION_S", 0.2)
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    with other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LockError, match=r"ledger/lock: another process has held it for 0\.2 s"), locked(tmp_path):
            pytest.fail("two launchers submit at once")
        assert Ledger(tmp_path).read() == [], "a lock is no submission"
    with locked(tmp_path):
        assert other.returncode == 0


def locked(directory: Path):
    return Ledger(directory).locked()


def test_a_record_is_of_the_job_whose_variables_it_has():
    made = measured(cell())

    def of(variables):
        return made.model_copy(update={"provenance": made.provenance.model_copy(update={"slurm": variables})})

    assert job_variables("12_3") == {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    assert made_in(of({"SLURM_JOB_ID": "12", "SLURM_CLUSTER_NAME": "c"}), "12")
    assert made_in(of({"SLURM_JOB_ID": "15", **job_variables("12_3")}), "12_3")
    assert not made_in(of(job_variables("12_4")), "12_3")
    assert not made_in(made, "12")
