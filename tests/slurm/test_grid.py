"""A sweep against fake commands of SLURM: what is submitted, what is not, and how each end is told."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from sailor_exp.errors import SailorExpError
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Ending, Outcome
from sailor_exp.slurm import grid as grid_module
from sailor_exp.slurm import status
from sailor_exp.slurm.grid import SlurmGrid
from sailor_exp.slurm.options import SlurmOptions
from sailor_exp.sweep.display import LiveDisplay
from sailor_exp.sweep.sweep import Sweep
from tests.build.cells import cell
from tests.build.fake_slurm import FakeSlurm, sacct_lines, squeue_lines, submissions
from tests.conftest import ROOT


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> FakeSlurm:
    fake = FakeSlurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", fake.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(grid_module, "RESULT_GRACE_S", 0.0)
    return fake


def grid_of(*cells, **options) -> SlurmGrid:
    given = SlurmOptions(**{"poll_s": 0.01, **options})
    return SlurmGrid(cells, [given] * len(cells), LiveDisplay(cells, Console(file=io.StringIO())))


def tiny(mbs: int = 1, *overrides: str):
    return cell(f"mbs={mbs}", "model.name=tiny", "profile_dir=out", *overrides)


def endings(directory: Path) -> dict[int, tuple[Outcome, str]]:
    made = [each for _, each in record_files.read_all(directory / "out", "layers", LayersMeasurement)]
    return {each.identity.mbs: (each.outcome, each.ending.message) for each in made}


def test_cells_of_a_pack_are_one_job_and_without_packing_one_array(slurm, tmp_path):
    start = grid_of(tiny(1), tiny(2), tiny(4)).start()
    assert (start.submitted, start.sbatch_calls) == (("11",), 1)
    shutil.rmtree(tmp_path / "outputs")
    start = grid_of(tiny(1), tiny(2), tiny(4), pack=False, array_parallelism=2).start()
    assert (start.submitted, start.sbatch_calls) == (("12_0", "12_1", "12_2"), 1)
    assert slurm.options("array") == [None, "0-2%2"]


def test_no_array_is_longer_than_the_cluster_allows(slurm):
    slurm.answer("scontrol", "Configuration data\nMaxArraySize            = 2\nMaxJobCount = 10000\n")
    start = grid_of(*(tiny(mbs) for mbs in (1, 2, 3, 4, 5)), pack=False).start()
    assert start.sbatch_calls == 3
    assert slurm.options("array") == ["0-1%2", "0-1%2", None]


def test_a_job_runs_the_copied_code_and_is_neither_requeued_nor_signalled(slurm, tmp_path):
    grid_of(tiny(), setup=["module load cuda"]).start()
    (script,) = slurm.scripts()
    (written,) = submissions(tmp_path / "outputs/slurm")
    lines = script.splitlines()
    assert "#SBATCH --no-requeue" in lines
    assert "#SBATCH --signal=URG@1" in lines
    assert lines.index("module load cuda") < lines.index("export PYTHONSAFEPATH=1")
    assert f"export PYTHONPATH={written['code']}${{PYTHONPATH:+:$PYTHONPATH}}" in lines
    assert (Path(written["code"]) / "sailor_exp/stats.py").read_bytes() == (ROOT / "sailor_exp/stats.py").read_bytes()


def test_a_launcher_inside_a_job_does_not_hand_that_jobs_request_on(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    grid_of(tiny()).start()
    assert (slurm.directory / "sbatch.environment").read_text() == "SLURM_CONF=/etc/slurm.conf\n"
    assert os.environ["SLURM_CPUS_PER_TASK"] == "7"


def test_the_same_sweep_again_attaches_to_what_is_queued_and_submits_only_the_rest(slurm):
    grid_of(tiny(1), tiny(2), pack=False).start()
    slurm.answer("squeue", squeue_lines([("11_0", "PENDING"), ("11_1", "RUNNING")]))
    start = grid_of(tiny(1), tiny(2), tiny(4), pack=False).start()
    assert start.attached == ("11_0", "11_1")
    assert start.submitted == ("12",)


def test_cells_whose_job_ended_without_a_result_are_submitted_again(slurm):
    grid_of(tiny(1)).start()
    slurm.answer("squeue", "")
    slurm.answer("sacct", sacct_lines([("11", "CANCELLED by 0")]))
    assert grid_of(tiny(1)).start().submitted == ("12",)


def test_a_submission_that_was_not_written_down_is_found_by_its_name(slurm, tmp_path, monkeypatch):
    """The launcher is killed when sbatch has answered and the id is not written yet."""
    with monkeypatch.context() as killed:
        killed.setattr(grid_module.submission, "submit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            grid_of(tiny(1)).start()
    (written,) = submissions(tmp_path / "outputs/slurm")
    assert written["job_id"] is None
    slurm.answer("squeue", "11\n", squeue_lines([("11", "PENDING")]))
    start = grid_of(tiny(1)).start()
    assert (start.attached, start.submitted) == (("11",), ())
    assert f"--name={written['name']}" in slurm.calls("squeue")[0]


def test_nothing_is_submitted_while_it_is_unknown_what_is_queued(slurm):
    grid_of(tiny(1)).start()
    slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    with pytest.raises(SailorExpError, match=r"Unable to contact slurm controller.*what is queued is unknown"):
        grid_of(tiny(1)).start()
    assert len(slurm.scripts()) == 1


def test_a_refused_array_fails_its_cells_and_leaves_no_trace_in_the_ledger(slurm, tmp_path):
    slurm.fail("sbatch", "sbatch: error: Batch job submission failed: Invalid qos specification\n")
    grid = grid_of(tiny(1), tiny(2), qos="gold")
    start = grid.start()
    assert (start.submitted, start.refused) == ((), 1)
    assert [result.record.outcome for result in grid.follow()] == [Outcome.failed, Outcome.failed]
    assert submissions(tmp_path / "outputs/slurm") == []
    said = "sbatch refused the job: Batch job submission failed: Invalid qos specification. Change hydra.launcher.qos="
    assert endings(tmp_path)[1][1] == f"{said}gold."


@pytest.mark.parametrize(
    ("state", "outcome", "message"),
    [
        ("CANCELLED by 1000", Outcome.failed, "job 11 on n1 was cancelled by user 1000;"),
        ("TIMEOUT", Outcome.timeout, "job 11 on n1 reached its time limit of 60 min: raise hydra.launcher.time_min;"),
        ("NODE_FAIL", Outcome.failed, "job 11 lost its node on n1;"),
        ("OUT_OF_MEMORY", Outcome.failed, "job 11 on n1 was killed for the machine's memory (not the GPU's): raise "),
        ("FAILED", Outcome.failed, "job 11 on n1 ended as FAILED;"),
        ("COMPLETED", Outcome.failed, "job 11 on n1 completed, but left no record of this cell;"),
        ("BOOT_FAIL", Outcome.failed, "job 11: its node on n1 did not boot;"),
        ("DEADLINE", Outcome.timeout, "job 11 reached its deadline;"),
    ],
)
def test_every_end_of_a_job_is_the_outcome_of_its_cells_with_the_end_of_its_log(
    slurm, tmp_path, state, outcome, message
):
    slurm.answer("squeue", squeue_lines([("11", "RUNNING")]), "")
    slurm.answer("sacct", sacct_lines([("11", state)]))
    grid = grid_of(tiny(1))
    grid.start()
    (written,) = submissions(tmp_path / "outputs/slurm")
    log = Path(written["folder"]) / "11_0_log.out"
    log.write_text("first\nlast\n")
    (result,) = grid.follow()
    assert result.record.outcome is outcome
    assert result.record.ending.message.startswith(message)
    assert result.record.ending.message.endswith("its log ends:\nfirst\nlast")
    assert result.record.ending.log == str(log)
    assert result.record.provenance.slurm == {"SLURM_JOB_ID": "11", "State": state.split()[0]}


def test_a_job_without_a_log_asks_whether_the_directory_is_shared(slurm, tmp_path):
    slurm.answer("sacct", sacct_lines([("11", "FAILED")]))
    grid = grid_of(tiny(1))
    grid.start()
    grid.follow()
    assert endings(tmp_path)[1][1].endswith("is submission_dir on a file system that the nodes share?")


def test_a_job_that_the_log_says_was_killed_for_memory_is_told_so_whatever_its_state(slurm, tmp_path):
    slurm.answer("sacct", sacct_lines([("11", "FAILED")]))
    grid = grid_of(tiny(1))
    grid.start()
    (written,) = submissions(tmp_path / "outputs/slurm")
    said = "slurmstepd-n1: error: StepId=11.0 exceeded memory limit (1129529344 > 1048576000), being killed\n"
    (Path(written["folder"]) / "11_0_log.out").write_text(said)
    grid.follow()
    assert endings(tmp_path)[1][1].startswith("job 11 on n1 was killed for the machine's memory")


def test_a_preempted_job_is_submitted_again_up_to_the_limit(slurm, tmp_path):
    slurm.answer("sacct", sacct_lines([(str(number), "PREEMPTED") for number in (11, 12, 13, 14)]))
    grid = grid_of(tiny(1), resubmit_preempted=2)
    grid.start()
    (result,) = grid.follow()
    assert len(slurm.scripts()) == 3
    written = sorted(submissions(tmp_path / "outputs/slurm"), key=lambda each: int(each["job_id"]))
    assert [each["jobs"][0]["preemptions"] for each in written] == [0, 1, 2]
    assert result.record.ending.message.startswith("job 13 on n1 was preempted, and its cells as often before")


def test_a_job_that_neither_command_knows_is_lost_with_what_sacct_said(slurm, tmp_path):
    slurm.answer("squeue", squeue_lines([("11", "RUNNING")]), "")
    slurm.fail("sacct", "sacct: error: Slurm accounting storage is disabled")
    grid = grid_of(tiny(1))
    grid.start()
    grid.follow()
    outcome, message = endings(tmp_path)[1]
    assert outcome is Outcome.failed
    assert message.startswith("SLURM does not know job 11 any more (sacct: sacct: error: Slurm accounting storage is")


def test_without_sacct_the_end_is_told_by_squeue(slurm, tmp_path):
    (slurm.directory / "sacct").unlink()
    slurm.answer("squeue", squeue_lines([("11", "RUNNING")]), squeue_lines([("11", "TIMEOUT")]))
    grid = grid_of(tiny(1))
    grid.start()
    grid.follow()
    assert endings(tmp_path)[1][0] is Outcome.timeout


def test_a_controller_that_does_not_answer_for_a_while_ends_nothing(slurm, tmp_path):
    grid = grid_of(tiny(1))
    grid.start()
    slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    slurm.answer("sacct", "", "", "", "", "", sacct_lines([("11", "NODE_FAIL")]))
    grid.follow()
    assert endings(tmp_path)[1][1].startswith("job 11 lost its node")


def test_a_record_that_the_job_made_is_the_result_and_one_of_an_earlier_job_is_not(slurm, tmp_path):
    asked = tiny(1)
    Sweep([asked], LiveDisplay([asked], Console(file=io.StringIO()))).finish(
        0, Outcome.failed, Ending(message="earlier"), {"SLURM_JOB_ID": "9"}
    )
    grid = grid_of(asked)
    assert grid.start().submitted == ("11",)
    Sweep([asked], LiveDisplay([asked], Console(file=io.StringIO()))).finish(
        0, Outcome.oom, Ending(message="by the job"), {"SLURM_JOB_ID": "11"}
    )
    slurm.answer("squeue", squeue_lines([("11", "COMPLETED")]))
    slurm.answer("sacct", sacct_lines([("11", "COMPLETED")]))
    (result,) = grid.follow()
    assert result.record.ending.message == "by the job"


def test_a_rank_that_was_killed_in_a_job_out_of_memory_is_told_by_whom(slurm, tmp_path):
    asked = tiny(1)
    grid = grid_of(asked, mem_gb=2.0)
    grid.start()
    Sweep([asked], LiveDisplay([asked], Console(file=io.StringIO()))).finish(
        0, Outcome.failed, Ending(message="rank 0 was ended", signal="SIGKILL"), {"SLURM_JOB_ID": "11"}
    )
    slurm.answer("sacct", sacct_lines([("11", "FAILED"), ("11.batch", "FAILED"), ("11.0", "OUT_OF_MEMORY")]))
    (result,) = grid.follow()
    assert result.record.ending.message.startswith("job 11 on n1 was killed for the machine's memory")
    assert "raise hydra.launcher.mem_gb, now 2;" in result.record.ending.message


def test_the_overview_shows_every_cell_and_cancelling_takes_back_only_what_is_active(slurm, tmp_path):
    cells = [tiny(1), tiny(2), tiny(4)]
    grid_of(*cells[:2], pack=False).start()
    slurm.answer("squeue", squeue_lines([("11_0", "PENDING"), ("11_1", "CANCELLED")]))
    found = status.rows(cells, tmp_path / "outputs/slurm")
    assert [(row.state, row.job_id) for row in found] == [
        ("queued", "11_0"), ("cancelled", "11_1"), ("not submitted", "")
    ]  # fmt: skip
    assert status.cancel(cells, tmp_path / "outputs/slurm") == ["11_0"]
    assert slurm.calls("scancel") == ["11_0"]


def test_the_command_line_asks_for_each_cells_own_gpus(tmp_path):
    fake = FakeSlurm.install(tmp_path / "bin")
    arguments = ("gpu=a100-40", "tp=1,2,4", "mbs=1,2", "hydra.launcher.wait=false")
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "-m", "hydra/launcher=slurm", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": fake.path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert fake.options("gres") == ["gpu:a100:1", "gpu:a100:2", "gpu:a100:4"]
    assert fake.options("cpus-per-task") == ["4", "8", "16"]
    assert "submitted 3 jobs (11, 12, 13) with 3 calls of sbatch" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hydra/launcher=slurm", "tp=1"], "hydra/launcher=slurm: Hydra uses a launcher only in a sweep: add -m"),
        (["-m", "hydra/launcher=slurm", "tp=1"], "hydra/launcher=slurm needs sbatch, srun, squeue, scancel; not on"),
        (["-m", "hydra/launcher=slurm", "hydra.launcher.tiem_min=1"], "The launcher's keys: cluster, submission_dir,"),
        (
            ["-m", "hydra/launcher=slurm", "tp=1,2", "hydra.launcher.gres=gpu:1"],
            "2 ranks need 2 GPUs; hydra.launcher.g",
        ),
        (["-m", "action=cancel"], "action=cancel takes back jobs, and this command has none"),
    ],
)
def test_a_wrong_command_is_told_and_nothing_is_submitted(tmp_path, arguments, message):
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
