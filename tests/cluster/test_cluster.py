"""What the test cluster's SLURM does, in the cases that a launcher must tell apart."""

import sys

import pytest

from tests.cluster.configuration import MAX_ARRAY_SIZE
from tests.cluster.processes import Process
from tests.cluster.session import SlurmSession

pytestmark = pytest.mark.slurm

TELL_GPUS = "echo $SLURM_JOB_NODELIST ${SLURM_JOB_GPUS:-none} ${CUDA_VISIBLE_DEVICES:-none}"
TIMEOUT_WITHIN_S = 120  # limits are minutes, and looked at every 30 s
LOST_NODE_WITHIN_S = 60  # 25 to 30 s until it is told; a requeued job may start 6 s later


@pytest.fixture
def breakable(slurm: SlurmSession):
    """The cluster, mended after the test."""
    yield slurm
    slurm.mend()


@pytest.mark.parametrize(("gpus", "seen"), [(1, 1), (2, 2), (4, 4)])
def test_a_job_sees_exactly_the_gpus_it_asks_for(slurm, tmp_path, gpus, seen):
    output = tmp_path / "output"
    job = slurm.submit(TELL_GPUS, f"--gres=gpu:{gpus}", output=output)
    slurm.wait_for_state(job, "COMPLETED")
    node, granted, visible = output.read_text().split()
    assert node in {"n1", "n2"}
    assert granted == visible
    assert len(set(visible.split(","))) == seen
    assert f"gres/gpu={gpus}" in slurm.sacct(job)[0]["AllocTRES"]


def test_a_job_without_gpus_sees_none(slurm, tmp_path):
    output = tmp_path / "output"
    slurm.wait_for_state(slurm.submit(TELL_GPUS, output=output), "COMPLETED")
    assert output.read_text().split()[1:] == ["none", "none"]


def test_jobs_beside_each_other_on_a_node_see_different_gpus(breakable, tmp_path):
    jobs = [
        breakable.submit(f"{TELL_GPUS}; sleep 60", "--gres=gpu:2", "--nodelist=n1", output=tmp_path / f"output{index}")
        for index in range(2)
    ]
    outputs = [tmp_path / f"output{index}" for index in range(2)]
    breakable.wait_for(lambda: all(output.exists() and output.read_text() for output in outputs))
    assert {breakable.squeue()[job] for job in jobs} == {"RUNNING"}
    assert sorted(output.read_text().split()[2] for output in outputs) == ["0,1", "2,3"]


def test_every_task_of_an_array_runs_and_is_accounted(slurm, tmp_path):
    job = slurm.submit("echo $SLURM_ARRAY_TASK_ID", "--array=0-3%2", "--gres=gpu:1", output=tmp_path / "%a")
    for task in range(4):
        slurm.wait_for_state(f"{job}_{task}", "COMPLETED")
        assert (tmp_path / str(task)).read_text() == f"{task}\n"


def test_an_array_index_at_the_limit_is_refused(slurm):
    refused = slurm.run("sbatch", f"--array=0-{MAX_ARRAY_SIZE}", "--wrap", "true")
    assert refused.returncode == 1
    assert refused.stderr == "sbatch: error: Batch job submission failed: Invalid job array specification\n"


def test_srun_starts_a_task_on_each_of_two_nodes_with_its_gpus(slurm):
    tell = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
    done = slurm.run("srun", "--nodes=2", "--gres=gpu:2", "bash", "-c", tell)
    assert sorted(done.stdout.splitlines()) == ["n1 0,1", "n2 0,1"]


def test_a_cancelled_job_is_told_with_who_did_it(slurm):
    job = slurm.submit("sleep 100")
    slurm.wait_for(lambda: slurm.squeue().get(job) == "RUNNING")
    slurm.run("scancel", job)
    slurm.wait_for_state(job, "CANCELLED")
    assert [(row["JobID"], row["State"], row["ExitCode"]) for row in slurm.sacct(job)] == [
        (job, "CANCELLED by 0", "0:0"),
        (f"{job}.batch", "CANCELLED", "0:15"),
    ]


def test_a_job_cancelled_while_it_waits_has_no_node_and_no_time(slurm):
    job = slurm.submit("true", "--begin=now+1hour")
    slurm.run("scancel", job)
    slurm.wait_for_state(job, "CANCELLED")
    (row,) = slurm.sacct(job)
    assert (row["State"], row["NodeList"], row["ElapsedRaw"]) == ("CANCELLED by 0", "None assigned", "0")


def test_a_job_over_its_memory_is_killed_and_its_log_says_so(slurm, tmp_path):
    """jobacct_gather kills it; OUT_OF_MEMORY comes of cgroups, which this cluster does without."""
    output = tmp_path / "output"
    touch_200_mb = f"{sys.executable} -c 'import time; held = b\"x\" * 200_000_000; time.sleep(60)'"
    job = slurm.submit(touch_200_mb, "--mem=50M", output=output)
    slurm.wait_for_state(job, "FAILED")
    assert [(row["State"], row["ExitCode"]) for row in slurm.sacct(job)] == [
        ("FAILED", "0:9"),
        ("CANCELLED by 0", "0:9"),
    ]
    assert "exceeded memory limit" in output.read_text()


def test_a_job_over_its_time_ends_as_timeout(slurm, tmp_path):
    """`--time=0:01` asks for a second and gets a minute, the least there is."""
    output = tmp_path / "output"
    job = slurm.submit("sleep 600", "--time=0:01", output=output)
    slurm.wait_for_state(job, "TIMEOUT", TIMEOUT_WITHIN_S)
    assert [(row["State"], row["ExitCode"]) for row in slurm.sacct(job)] == [("TIMEOUT", "0:0"), ("CANCELLED", "0:15")]
    assert 60 <= int(slurm.sacct(job)[0]["ElapsedRaw"]) <= 100
    assert "DUE TO TIME LIMIT" in output.read_text()


def test_sacct_fails_while_slurmdbd_is_stopped_and_knows_all_afterwards(breakable):
    breakable.stop("slurmdbd")
    failed = breakable.run("sacct", "--jobs=1")
    assert failed.returncode == 1
    assert "Connection refused" in failed.stderr
    job = breakable.submit("true")
    breakable.wait_for(lambda: job not in breakable.squeue())
    assert "JobState=COMPLETED" in breakable.run("scontrol", "show", "job", job).stdout
    breakable.start("slurmdbd")
    breakable.wait_for_state(job, "COMPLETED")


def test_a_job_whose_node_is_lost_ends_as_node_fail_where_it_may_not_be_requeued(breakable):
    job = breakable.submit("sleep 600", "--nodelist=n1", "--no-requeue")
    breakable.wait_for(lambda: breakable.squeue().get(job) == "RUNNING")
    breakable.lose("n1")
    breakable.wait_for_state(job, "NODE_FAIL", LOST_NODE_WITHIN_S)
    assert [(row["State"], row["ExitCode"]) for row in breakable.sacct(job)] == [
        ("NODE_FAIL", "0:0"),
        ("CANCELLED", ""),
    ]


def test_a_job_whose_node_is_lost_is_requeued_under_its_id_on_the_other(breakable, tmp_path):
    output = tmp_path / "output"
    job = breakable.submit("echo $SLURMD_NODENAME; sleep 600", output=output)
    breakable.wait_for(lambda: output.exists() and output.read_text() != "")
    first = output.read_text().strip()
    breakable.lose(first)
    breakable.wait_for(lambda: output.read_text().strip() not in {"", first}, LOST_NODE_WITHIN_S)
    breakable.wait_for_state(job, "RUNNING")
    runs = breakable.run(
        "sacct", "--duplicates", "--allocations", "--noheader", f"--jobs={job}", "--format=State,NodeList"
    )
    second = {"n1": "n2", "n2": "n1"}[first]
    assert runs.stdout.split() == ["NODE_FAIL", first, "RUNNING", second]


def test_a_job_outlives_its_slurmd_and_runs_twice_once_it_is_requeued(breakable, tmp_path):
    first_run, second_run = tmp_path / "0", tmp_path / "1"
    script = f"echo $$ > {tmp_path}/${{SLURM_RESTART_COUNT:-0}}; exec sleep 600"
    job = breakable.submit(script)
    breakable.wait_for(first_run.exists)
    node = breakable.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").stdout.strip()
    breakable.kill(node)
    breakable.wait_for(second_run.exists, LOST_NODE_WITHIN_S)
    assert Process.of(int(first_run.read_text())).alive()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--partition=nosuch", "invalid partition specified: nosuch"),
        ("--gres=gpu:5", "Requested node configuration is not available"),
        ("--constraint=a100", "Invalid feature specification"),
        ("--mem=99G", "Memory specification can not be satisfied"),
        ("--time=soon", "Invalid --time specification"),
        ("--nosuch", "unrecognized option '--nosuch'"),
    ],
)
def test_sbatch_says_what_it_refuses(slurm, option, message):
    refused = slurm.run("sbatch", option, "--wrap", "true")
    assert refused.returncode != 0
    assert message in refused.stderr


def test_a_time_above_the_partitions_is_not_refused_but_waits_for_ever(breakable):
    job = breakable.submit("true", "--partition=short", "--time=5")
    asked = ("squeue", "--noheader", f"--jobs={job}", "--format=%T %r")
    breakable.wait_for(lambda: breakable.run(*asked).stdout == "PENDING PartitionTimeLimit\n")
    breakable.wait_for_state(breakable.submit("true", "--partition=short", "--time=1"), "COMPLETED")
    assert breakable.run(*asked).stdout == "PENDING PartitionTimeLimit\n", "a job that came later has run"


def test_submitit_runs_a_function_and_returns_its_result(inside_slurm, tmp_path):
    submitit = pytest.importorskip("submitit")
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm")
    executor.update_parameters(timeout_min=5, slurm_gres="gpu:2", mem_gb=1)
    job = executor.submit(visible_gpus_and_environment)
    assert job.result() == ("0,1", job.job_id)


def visible_gpus_and_environment() -> tuple[str, str]:
    import os

    return os.environ["CUDA_VISIBLE_DEVICES"], os.environ["SLURM_JOB_ID"]
