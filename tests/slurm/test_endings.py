"""From the end of a job to what is said of a cell that it left no record of."""

import pytest

from sailor_exp.records.record import Outcome
from sailor_exp.slurm.endings import ending_of, lost, outcome_of
from sailor_exp.slurm.options import SlurmOptions
from sailor_exp.slurm.request import Request
from sailor_exp.slurm.states import JobState

REQUEST = Request.of(SlurmOptions(time_min=30))


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "11_0_log.out"
    path.write_text("".join(f"line {number}\n" for number in range(1, 21)))
    return path


def test_only_an_end_by_the_clock_is_a_timeout():
    names = ("TIMEOUT", "DEADLINE", "CANCELLED", "NODE_FAIL", "COMPLETED")
    assert [outcome_of(JobState(name=name)) for name in names] == [Outcome.timeout] * 2 + [Outcome.failed] * 3


def test_an_ending_has_the_last_eight_lines_of_the_log_and_where_the_rest_is(log):
    ending = ending_of("11", JobState(name="TIMEOUT", nodes="n1"), REQUEST, log)
    said = "job 11 on n1 reached its time limit of 30 min: raise hydra.launcher.time_min"
    assert ending.message == f"{said}; its log ends:\n" + "\n".join(f"line {number}" for number in range(13, 21))
    assert ending.log == str(log)


def test_an_empty_log_ends_with_nothing(log):
    log.write_text("")
    ending = ending_of("11", JobState(name="CANCELLED", nodes="None assigned", by="7"), REQUEST, log)
    assert (ending.message, ending.log) == ("job 11 was cancelled by user 7", str(log))


def test_a_job_without_a_log_has_none_to_show(tmp_path):
    path = tmp_path / "11_0_log.out"
    ending = ending_of("11", JobState(name="BOOT_FAIL", nodes="n1"), REQUEST, path)
    shared = f"; it left no log at {path}: is submission_dir on a file system that the nodes share?"
    assert (ending.message, ending.log) == (f"job 11: its node on n1 did not boot{shared}", None)


@pytest.mark.parametrize(
    "said",
    [
        "slurmstepd-n1: error: StepId=11.0 exceeded memory limit (2 > 1), being killed",
        "slurmstepd: error: Exceeded job memory limit",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=11.batch.",
    ],
)
def test_what_slurmstepd_says_of_memory_counts_more_than_the_state(log, said):
    log.write_text(f"{said}\n")
    ending = ending_of("11", JobState(name="FAILED", nodes="n1", exit_code="0:9"), REQUEST, log)
    expected = "job 11 on n1 was killed for the machine's memory (not the GPU's): raise hydra.launcher.mem_gb, now "
    assert ending.message.startswith(f"{expected}the site's default; its log ends:")


def test_another_end_is_told_with_its_exit_code_where_that_says_something(log):
    def reason(exit_code):
        state = JobState(name="FAILED", nodes="n1", exit_code=exit_code)
        return ending_of("11", state, REQUEST, log).message.partition(";")[0]

    assert reason("3:0") == "job 11 on n1 ended as FAILED with exit code 3:0"
    assert reason("0:0") == reason(None) == "job 11 on n1 ended as FAILED"


def test_a_lost_job_is_told_with_why_nobody_knows_it(log):
    ending = lost("11_2", "neither squeue nor sacct lists it", log)
    expected = "SLURM does not know job 11_2 any more (neither squeue nor sacct lists it), and it left no record of "
    assert ending.message.startswith(f"{expected}this cell; its log ends:\nline 13\n")
    assert ending.log == str(log)
