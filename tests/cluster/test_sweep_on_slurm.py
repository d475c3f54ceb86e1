"""Whole sweeps on a real cluster, run as a user runs them: what is submitted, granted, lost and told."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import psutil
import pytest

from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.profiles.network.measurement import NetworkMeasurement
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome, Record
from tests.cluster.configuration import MAX_ARRAY_SIZE
from tests.cluster.session import SlurmSession
from tests.conftest import ROOT

pytestmark = pytest.mark.slurm

QUICK = ("sampling.min_steps=4", "sampling.max_steps=4", "sampling.warmup=2")
ENDLESS = ("sampling.min_steps=1000000", "sampling.max_steps=1000000")
GPUS = "hydra.launcher.gres=gpu:${tp}"
Cells = dict[tuple[int, int], Record[LayersMeasurement]]


@dataclass(frozen=True)
class Launcher:
    """`launch.py -m hydra/launcher=slurm` in a directory of its own."""

    slurm: SlurmSession
    directory: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        fixed = (
            "-m",
            "hydra/launcher=slurm",
            "hydra.launcher.poll_s=0.5",
            "hydra.launcher.mem_gb=3",
            "profile_dir=out",
        )
        return subprocess.Popen(
            [sys.executable, str(ROOT / "launch.py"), *fixed, *arguments],
            cwd=self.directory,
            env={**self.slurm.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, seconds: float = 240) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output

    def cells(self) -> Cells:
        made = [made for _, made in record_files.read_all(self.directory / "out", "layers", LayersMeasurement)]
        return {(each.identity.tp, each.identity.mbs): each for each in made}

    def outcomes(self) -> dict[tuple[int, int], Outcome]:
        return {cell: made.outcome for cell, made in self.cells().items()}

    def submissions(self) -> list[dict[str, object]]:
        ledger = self.directory / "outputs/slurm/ledger"
        return [json.loads(path.read_text()) for path in ledger.glob("*.json")]

    def job_of(self, tp: int, mbs: int) -> str:
        """The job that a cell was submitted in."""
        for submission in self.submissions():
            for index, job in enumerate(submission["jobs"]):
                if any(f"_tp{tp}_mbs{mbs}_" in path for path in job["records"]):
                    return submission["job_id"] + ("" if len(submission["jobs"]) == 1 else f"_{index}")
        raise AssertionError(f"no job for tp={tp} mbs={mbs}")

    def submitted(self, cells: int) -> Callable[[], bool]:
        """Whether so many cells are in the ledger with the ids of their jobs."""

        def known() -> bool:
            jobs = [job for each in self.submissions() if each["job_id"] for job in each["jobs"]]
            return sum(len(job["records"]) for job in jobs) == cells

        return known


@pytest.fixture
def launcher(slurm: SlurmSession, tmp_path: Path):
    yield Launcher(slurm, tmp_path)
    slurm.mend()


def granted(made: Record) -> int:
    return len(made.provenance.slurm["CUDA_VISIBLE_DEVICES"].split(","))


def job_id(made: Record) -> str:
    slurm = made.provenance.slurm
    array = slurm.get("SLURM_ARRAY_JOB_ID")
    return slurm["SLURM_JOB_ID"] if array is None else f"{array}_{slurm['SLURM_ARRAY_TASK_ID']}"


def ranks_of(slurm: SlurmSession, job: str) -> list[psutil.Process]:
    """Processes forked from the fork server of a job."""
    found = []
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            parent = process.parent()
            forked = parent is not None and any("forkserver" in word for word in parent.cmdline())
            in_job = variables.get("SLURM_CONF") == slurm.environment["SLURM_CONF"]
            if forked and in_job and variables.get("SLURM_JOB_ID") == job:
                found.append(process)
        except psutil.Error:
            continue
    return found


def form_a_group(ranks: Sequence[psutil.Process], count: int) -> bool:
    """Whether there are so many ranks and each is connected to every other: whoever is gone is missed."""
    try:
        ends = [{(end.laddr, end.raddr) for end in rank.net_connections("inet") if end.raddr} for rank in ranks]
    except psutil.Error:
        return False
    return len(ranks) == count and all(
        any((there, here) in others for here, there in own) for own, others in combinations(ends, 2)
    )


@pytest.mark.parametrize(("pack", "jobs"), [("true", 3), ("false", 6)])
def test_every_cell_gets_the_gpus_that_it_asks_for(launcher, pack, jobs):
    status, output = launcher.run(GPUS, f"hydra.launcher.pack={pack}", "tp=1,2,4", "mbs=1,2", *QUICK)
    assert status == 0, output
    cells = launcher.cells()
    for (tp, mbs), made in sorted(cells.items()):
        print(f"tp={tp} mbs={mbs} job {job_id(made)} GPUs {made.provenance.slurm['CUDA_VISIBLE_DEVICES']}")
    assert {cell: (made.outcome, granted(made)) for cell, made in cells.items()} == {
        (tp, mbs): (Outcome.ok, tp) for tp in (1, 2, 4) for mbs in (1, 2)
    }
    assert len({job_id(made) for made in cells.values()}) == jobs
    assert all(made.provenance.slurm["OverSubscribe"] == "OK" for made in cells.values())


def test_an_exclusive_job_has_the_node_for_itself_and_the_record_says_so(launcher):
    status, output = launcher.run("hydra.launcher.exclusive=true", "tp=1,2", "mbs=1", *QUICK)
    assert status == 0, output
    for made in launcher.cells().values():
        assert made.provenance.slurm["OverSubscribe"] == "NO"
        assert made.provenance.slurm["other_jobs_on_node"] == "0"


def test_a_launcher_that_left_comes_back_to_its_jobs_and_submits_nothing_twice(launcher):
    sweep = (GPUS, "hydra.launcher.pack=false", "tp=1,2,4", "mbs=1,2", *QUICK)
    status, output = launcher.run("hydra.launcher.wait=false", *sweep)
    assert status == 0, output
    assert "submitted 6 jobs" in output
    assert "with 3 calls of sbatch" in output
    status, output = launcher.run("action=status", *sweep)
    print(output)
    assert status == 0
    assert re.search(r"\b(queued|running|ok)\b", output)
    status, output = launcher.run(*sweep)
    assert status == 0, output
    assert "submitted 0 jobs with 0 calls of sbatch" in output
    assert len(launcher.submissions()) == 3
    assert set(launcher.outcomes().values()) == {Outcome.ok}
    assert len(launcher.outcomes()) == 6


def test_a_waiting_launcher_that_is_killed_loses_nothing(launcher):
    sweep = (GPUS, "tp=1,2", "mbs=1,2", *ENDLESS, "sampling.budget_s=10")
    process = launcher.start(*sweep)
    launcher.slurm.wait_for(launcher.submitted(4))
    process.kill()
    process.communicate()
    status, output = launcher.run(*sweep)
    assert status == 0, output
    assert "submitted 0 jobs" in output
    assert len(launcher.submissions()) == 2
    assert set(launcher.outcomes().values()) == {Outcome.ok}


def test_what_is_queued_and_running_can_be_taken_back(launcher):
    sweep = (GPUS, "tp=1,2,4", "mbs=1", *ENDLESS, "sampling.budget_s=100")
    launcher.run("hydra.launcher.wait=false", *sweep)
    status, output = launcher.run("action=cancel", *sweep)
    assert status == 0
    assert output.startswith("cancelled 3 jobs: ")
    launcher.slurm.wait_for(lambda: not launcher.slurm.squeue())
    status, output = launcher.run("action=status", *sweep)
    print(output)
    assert "3 cancelled" in output
    assert launcher.run("action=cancel", *sweep)[1] == "nothing is queued or running\n"


def test_a_cancelled_job_is_its_cells_outcome_and_the_others_are_there(launcher):
    process = launcher.start(GPUS, "hydra.launcher.pack=false", "tp=1,2", "mbs=1,2", *ENDLESS, "sampling.budget_s=15")
    launcher.slurm.wait_for(launcher.submitted(4))
    victim = launcher.job_of(2, 1)
    launcher.slurm.wait_for(lambda: launcher.slurm.squeue().get(victim) == "RUNNING")
    launcher.slurm.run("scancel", victim)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 1, output
    print_outcomes(launcher)
    assert launcher.outcomes() == {
        (1, 1): Outcome.ok, (1, 2): Outcome.ok, (2, 1): Outcome.failed, (2, 2): Outcome.ok
    }  # fmt: skip
    ending = launcher.cells()[2, 1].ending
    assert re.match(rf"job {victim} on n\d was cancelled by user 0; its log ends:\n", ending.message)
    assert Path(ending.log).exists()


def test_a_time_limit_that_is_too_short_ends_the_cell_that_met_it(launcher):
    status, output = launcher.run(
        "hydra.launcher.time_min=1", "tp=1", "mbs=1,2", *ENDLESS, "sampling.budget_s=45", seconds=300
    )
    assert status == 1, output
    print_outcomes(launcher)
    assert launcher.outcomes() == {(1, 1): Outcome.ok, (1, 2): Outcome.timeout}
    message = launcher.cells()[1, 2].ending.message
    assert re.match(r"job \d+ on n\d reached its time limit of 1 min: raise hydra.launcher.time_min; its log", message)


def test_a_killed_rank_fails_its_cell_and_the_job_goes_on_with_the_next(launcher):
    process = launcher.start(GPUS, "tp=2", "mbs=1,2", *ENDLESS, "sampling.budget_s=12")
    launcher.slurm.wait_for(launcher.submitted(2))
    job = launcher.job_of(2, 1)
    launcher.slurm.wait_for(lambda: form_a_group(ranks_of(launcher.slurm, job), 2))
    ranks_of(launcher.slurm, job)[1].kill()
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 1, output
    print_outcomes(launcher)
    assert launcher.outcomes() == {(2, 1): Outcome.failed, (2, 2): Outcome.ok}
    assert launcher.cells()[2, 1].ending.signal == "SIGKILL"


def test_a_node_that_is_lost_fails_its_cells_and_the_others_are_there(launcher):
    process = launcher.start(
        "+hydra.launcher.additional.nodelist=n${tp}", "tp=1,2", "mbs=1", *ENDLESS, "sampling.budget_s=25"
    )
    launcher.slurm.wait_for(launcher.submitted(2))
    job = launcher.job_of(1, 1)
    launcher.slurm.wait_for(lambda: launcher.slurm.squeue().get(job) == "RUNNING")
    launcher.slurm.lose("n1")
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    print_outcomes(launcher)
    assert launcher.outcomes() == {(1, 1): Outcome.failed, (2, 1): Outcome.ok}
    assert launcher.cells()[1, 1].ending.message.startswith(f"job {job} lost its node on n1")


def test_a_request_that_sbatch_refuses_is_told_with_the_option_and_the_others_are_there(launcher):
    status, output = launcher.run(GPUS, "vm=8", "tp=1,8", "mbs=1", *QUICK)
    assert status == 1, output
    print_outcomes(launcher)
    assert launcher.outcomes() == {(1, 1): Outcome.ok, (8, 1): Outcome.failed}
    message = launcher.cells()[8, 1].ending.message
    assert message.startswith("sbatch refused the job: Batch job submission failed: Requested node configuration")
    assert "hydra.launcher.gres=gpu:8" in message


def test_an_unknown_partition_is_named(launcher):
    status, _ = launcher.run("hydra.launcher.partition=nowhere", "tp=1", "mbs=1", *QUICK)
    assert status == 1
    message = launcher.cells()[1, 1].ending.message
    print(message)
    assert "invalid partition specified: nowhere" in message
    assert message.endswith("Change hydra.launcher.partition=nowhere.")


def test_without_accounting_every_cell_is_told_all_the_same(launcher):
    launcher.slurm.stop("slurmdbd")
    process = launcher.start(GPUS, "hydra.launcher.pack=false", "tp=1,2", "mbs=1,2", *ENDLESS, "sampling.budget_s=15")
    launcher.slurm.wait_for(launcher.submitted(4))
    victim = launcher.job_of(1, 2)
    launcher.slurm.wait_for(lambda: launcher.slurm.squeue().get(victim) == "RUNNING")
    launcher.slurm.run("scancel", victim)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    print_outcomes(launcher)
    assert launcher.outcomes() == {
        (1, 1): Outcome.ok, (1, 2): Outcome.failed, (2, 1): Outcome.ok, (2, 2): Outcome.ok
    }  # fmt: skip
    assert "was cancelled" in launcher.cells()[1, 2].ending.message


def test_a_job_that_dies_before_it_measures_is_told_with_its_exit_code(launcher):
    status, output = launcher.run(GPUS, 'hydra.launcher.setup=["kill -9 $$"]', "tp=1", "mbs=1", *QUICK)
    assert status == 1, output
    print_outcomes(launcher)
    assert "ended as FAILED" in launcher.cells()[1, 1].ending.message


def test_a_grid_larger_than_an_array_may_be_is_submitted_by_one_call_of_sbatch_an_array(launcher):
    microbatches = ",".join(str(mbs) for mbs in range(1, MAX_ARRAY_SIZE + 2))
    sweep = (GPUS, "hydra.launcher.pack=false", "tp=1,2", f"mbs={microbatches}", *QUICK)
    later = "+hydra.launcher.additional.begin=now+1hour"
    status, output = launcher.run("hydra.launcher.wait=false", later, *sweep)
    assert status == 0, output
    assert sorted(len(submission["jobs"]) for submission in launcher.submissions()) == [1, 1, 40, 40]


def test_what_runs_is_what_was_submitted(launcher, tmp_path):
    """The checkout is edited while the job is queued: it runs the copy that was made at submission."""
    checkout = tmp_path / "checkout"
    for part in ("sailor_exp", "hydra_plugins", "conf"):
        shutil.copytree(ROOT / part, checkout / part)
    shutil.copy(ROOT / "launch.py", checkout)
    blocker = launcher.slurm.submit("sleep 60", "--nodes=2", "--exclusive")
    environment = {**launcher.slurm.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(checkout)}
    command = [
        sys.executable,
        "launch.py",
        "-m",
        "hydra/launcher=slurm",
        "hydra.launcher.poll_s=0.5",
        "profile_dir=out",
    ]
    subprocess.run([*command, *QUICK, "hydra.launcher.wait=false"], cwd=checkout, env=environment, check=True)
    edited = checkout / "sailor_exp/sweep/rank_process.py"
    assert edited.exists(), "only a job imports it: the launcher goes on"
    edited.write_text("raise RuntimeError('edited')\n")
    launcher.slurm.run("scancel", blocker)
    done = subprocess.run(
        [*command, *QUICK], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = [made for _, made in record_files.read_all(checkout / "out", "layers", LayersMeasurement)]
    assert made.outcome is Outcome.ok


BETWEEN = ("profile=network", "nodes=2", "ranks=2", "profile.most_bytes=262144")
"""Two pairs of ranks, one of each on each node."""


def test_a_link_is_measured_between_two_nodes_and_is_told_to_be_a_loopback(launcher):
    """Both nodes of the test cluster are this host."""
    status, output = launcher.run(*BETWEEN, *QUICK)
    print(output)
    assert status == 0, output
    ((_, made),) = record_files.read_all(launcher.directory / "out", "network", NetworkMeasurement)
    link, series = made.measured.link, made.measured.series
    assert [each.operation for each in series] == ["pairs", "all_reduce", "all_gather", "reduce_scatter"]
    assert all(len(size.seconds) == 4 for each in series for size in each.sizes), "of all ranks, on both nodes"
    assert [size.size_bytes for size in series[0].sizes] == [2**16, 2**17, 2**18]
    assert (link.kind, [(end.node, end.address, end.interface) for end in link.ends]) == (
        "loopback",
        [("n1", "127.0.0.1", "lo"), ("n2", "127.0.0.1", "lo")],
    )
    assert "loopback" in output
    assert not list((launcher.directory / "out/logs").iterdir()), "no rank left a log"


def test_one_command_to_planners_files_is_left_and_gone_on_with(launcher):
    command = (
        "exporter=piper,oobleck",
        "vm=2",
        "tp=1",
        "mbs=1",
        "profile.most_bytes=524288",
        "network_dir=links",
        *QUICK,
    )
    status, output = launcher.run("hydra.launcher.wait=false", *command)
    assert status == 0, output
    assert "the same command exports when all jobs have ended" in output
    assert not (launcher.directory / "outputs/export").exists()
    status, output = launcher.run(*command)
    assert status == 0, output
    assert "already queued or running" in output or output.count("(was there") == 8
    assert output.count("│ nothing ") == 4
    baselines = launcher.directory / "outputs/export/sailor/Planner/baselines"
    files = ("Piper/profiles/gpt-tiny/CPU/profile.json", "Oobleck/profiles/gpt-tiny/CPU/profile_2.json")
    assert all((baselines / file).is_file() for file in files)
    assert sum(len(job["records"]) for each in launcher.submissions() for job in each["jobs"]) == 8
    status, output = launcher.run("hydra.launcher.wait=false", *command)
    assert status == 0, output
    assert output.count("│ nothing ") == 4


def test_a_rank_killed_on_the_second_node_is_named_and_not_the_peers_that_lost_it(launcher):
    process = launcher.start(*BETWEEN, *ENDLESS, "sampling.budget_s=60")
    launcher.slurm.wait_for(lambda: any(each["job_id"] for each in launcher.submissions()))
    (job,) = [submission["job_id"] for submission in launcher.submissions()]
    launcher.slurm.wait_for(lambda: form_a_group(ranks_of(launcher.slurm, job), 4))
    victims = [rank for rank in ranks_of(launcher.slurm, job) if rank.environ()["SLURM_NODEID"] == "1"]
    max(victims, key=lambda rank: rank.pid).kill()
    output, _ = process.communicate(timeout=180)
    print(output)
    assert process.returncode == 1, output
    ((_, made),) = record_files.read_all(launcher.directory / "out", "network", NetworkMeasurement)
    assert made.outcome is Outcome.failed
    assert (made.ending.rank, made.ending.signal) == (3, "SIGKILL")
    assert Path(made.ending.log).name.endswith("_rank3.log")


def print_outcomes(launcher: Launcher) -> None:
    for (tp, mbs), made in sorted(launcher.cells().items()):
        said = made.ending.message.splitlines()[0] if made.ending else ""
        print(f"tp={tp} mbs={mbs} {made.outcome} {said}")


def test_tasks_on_two_nodes_form_a_group_at_the_first_of_them(launcher, tmp_path):
    environment = {**launcher.slurm.environment, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    options = ("hydra.launcher.nodes=2", "hydra.launcher.submission_dir=submitted", "hydra.launcher.time_min=2")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/cluster/group_app.py"), "-m", "hydra/launcher=sailor_exp_slurm", *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    logs = "".join(path.read_text() for path in sorted((tmp_path / "submitted/hydra").glob("*_log.out")))
    told = re.findall(r"rank (\d) of 2 on (n\d) \(\S+\): sum (\d)", logs)
    print(told)
    assert sorted(told) == [("0", "n1", "3"), ("1", "n2", "3")]
