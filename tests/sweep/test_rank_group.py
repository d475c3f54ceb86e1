"""The supervisor, with ranks that need no torch."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from sailor_exp.errors import RankHangsError
from sailor_exp.sweep import rank_group
from sailor_exp.sweep.messages import Cause, Death, Finished, Progress
from sailor_exp.sweep.rank_group import RankGroup, verdict
from tests.conftest import ROOT

OOM = Death(cause=Cause.out_of_memory, message="can't allocate memory", phase="forward head")
PEER = Death(cause=Cause.lost_peer, message="Connection closed by peer", phase="forward layer_1")
ERROR = Death(cause=Cause.error, message="ValueError: no")
KILLED = Death(cause=Cause.signal, message="rank 0 was ended by SIGKILL", signal="SIGKILL")


def finishing(rank, pipe, task):
    pipe.send(Progress(phase="sampling", steps=rank))
    pipe.send(Finished())


def out_of_memory_while_the_others_wait(rank, pipe, task):
    if rank == 1:
        pipe.send(OOM)
        os._exit(3)
    time.sleep(600)


def ended_by_signal(rank, pipe, task):
    if rank == 0:
        pipe.send(Progress(phase="backward head"))
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def leaving_without_a_word(rank, pipe, task):
    os._exit(7)


def silent(rank, pipe, task):
    pipe.send(Progress(phase="joining"))
    time.sleep(600)


def group(size=2, stall_s=30.0):
    heard = []
    context = multiprocessing.get_context("fork")
    made = RankGroup(context, size, stall_s=stall_s, on_message=lambda rank, message: heard.append((rank, message)))
    return made, heard


def test_ranks_that_finish_end_well_and_are_heard():
    ranks, heard = group(3)
    assert ranks.run(finishing, None) is None
    assert {(rank, message.steps) for rank, message in heard if isinstance(message, Progress)} == {
        (0, 0),
        (1, 1),
        (2, 2),
    }


def test_a_rank_out_of_memory_ends_a_group_that_waits_for_it_within_two_seconds():
    ranks, _ = group(3)
    started = time.monotonic()
    end = ranks.run(out_of_memory_while_the_others_wait, None)
    assert time.monotonic() - started < 2
    assert (end.death, end.rank, end.timed_out) == (OOM, 1, False)
    assert not any(psutil.pid_exists(pid) for pid in ranks.process_ids().values())


def test_a_rank_ended_by_a_signal_is_named_with_its_last_phase():
    ranks, _ = group()
    end = ranks.run(ended_by_signal, None)
    assert (end.rank, end.death.signal, end.death.phase) == (0, "SIGKILL", "backward head")


def test_a_rank_that_leaves_without_a_word_is_an_error_with_its_status():
    ranks, _ = group()
    end = ranks.run(leaving_without_a_word, None)
    assert end.death.cause is Cause.error
    assert "exit status 7" in end.death.message


def test_a_rank_that_no_signal_ends_is_one_clear_error_and_nothing_waits_for_it(monkeypatch):
    """A process hangs so in a driver; here the signal is not sent."""
    monkeypatch.setattr(rank_group, "KILLED_WITHIN_S", 0.2)
    monkeypatch.setattr(multiprocessing.context.ForkProcess, "kill", lambda process: None)
    ranks, _ = group(stall_s=0.5)
    started = time.monotonic()
    with pytest.raises(RankHangsError, match=r"rank 0 \(process \d+\) did not end within 0.2 s of SIGKILL"):
        ranks.run(silent, None)
    try:
        assert time.monotonic() - started < 5
        assert not multiprocessing.active_children()
    finally:
        for pid in ranks.process_ids().values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_silence_ends_as_a_timeout_with_the_last_phase():
    ranks, _ = group(stall_s=0.5)
    end = ranks.run(silent, None)
    assert end.timed_out
    assert end.death.phase == "joining"
    assert not any(psutil.pid_exists(pid) for pid in ranks.process_ids().values())


def test_ranks_whose_peers_on_another_machine_ended_are_ended_though_they_notice_nothing():
    context = multiprocessing.get_context("fork")
    ranks = RankGroup(context, 2, stall_s=30, on_message=lambda *_: None, first_rank=2, abandoned=lambda: True)
    started = time.monotonic()
    end = ranks.run(silent, None)
    assert time.monotonic() - started < 5
    assert (end.death.cause, end.timed_out) == (Cause.lost_peer, False)
    assert list(ranks.process_ids()) == [2, 3]
    assert not any(psutil.pid_exists(pid) for pid in ranks.process_ids().values())


def test_ranks_of_a_later_machine_go_by_their_number_in_the_whole_group():
    ranks = RankGroup(multiprocessing.get_context("fork"), 2, stall_s=30, on_message=lambda *_: None, first_rank=4)
    end = ranks.run(ended_by_signal, None)
    assert (end.rank, end.death.message.partition(" (")[0]) == (4, "rank 4 was ended by SIGKILL")


def test_ranks_are_killed_when_their_message_cannot_be_kept():
    def full_disk(rank, message):
        raise OSError("no space")

    ranks = RankGroup(multiprocessing.get_context("fork"), 2, stall_s=30, on_message=full_disk)
    with pytest.raises(OSError, match="no space"):
        ranks.run(silent, None)
    assert not any(psutil.pid_exists(pid) for pid in ranks.process_ids().values())


@pytest.mark.parametrize(
    ("deaths", "rank", "cause"),
    [
        ({0: PEER, 1: OOM}, 1, Cause.out_of_memory),
        ({0: KILLED, 1: OOM}, 1, Cause.out_of_memory),
        ({0: ERROR, 1: KILLED}, 1, Cause.signal),
        ({0: PEER, 1: ERROR}, 1, Cause.error),
        ({0: PEER, 1: PEER}, 0, Cause.lost_peer),
    ],
)
def test_the_death_that_explains_the_others_is_the_verdict(deaths, rank, cause):
    end = verdict(deaths)
    assert (end.rank, end.death.cause) == (rank, cause)


def test_the_server_that_loads_cublas_has_no_override_of_tf32(tmp_path):
    """Its ranks set it for their precision; a library may have read it by then."""
    program = """
from pathlib import Path
from multiprocessing import forkserver
from sailor_exp.config.schema import Device
from sailor_exp.sweep.rank_group import server

server(Device.cpu)
print("NVIDIA_TF32_OVERRIDE" in Path(f"/proc/{forkserver._forkserver._forkserver_pid}/environ").read_text())
"""
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
