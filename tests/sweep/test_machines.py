"""Supervisors of several machines, without ranks: what they tell each other, and which end explains the others."""

import time

import pytest

from sailor_exp.instruments.network_address import host_of, interface_of
from sailor_exp.profiles.network.link import end_towards, link_of, settings_in
from sailor_exp.profiles.network.measurement import LinkEnd
from sailor_exp.sweep.machines import Rendezvous, SeveralMachines, Told
from sailor_exp.sweep.messages import Cause, Death, Measured
from sailor_exp.sweep.rank_group import GroupEnd
from tests.build.measurements import DEVICE

PEER = GroupEnd(death=Death(cause=Cause.lost_peer, message="Connection closed by peer"), rank=0)
KILLED = GroupEnd(death=Death(cause=Cause.signal, message="rank 2 was ended by SIGKILL", signal="SIGKILL"), rank=2)
OOM = GroupEnd(death=Death(cause=Cause.out_of_memory, message="can't allocate memory"), rank=3)
SILENT = GroupEnd(death=Death(cause=Cause.error, message="rank 2 was silent for 4 s"), rank=2, timed_out=True)


def machine(directory, rank, heard_within_s=5.0):
    met = Rendezvous(rank=rank, world_size=2, local_rank=0, address="127.0.0.1", port=20001)
    return SeveralMachines(met, directory, "17.0", heard_within_s)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (PEER, KILLED, KILLED),
        (KILLED, PEER, KILLED),
        (PEER, OOM, OOM),
        (KILLED, OOM, OOM),
        (PEER, SILENT, SILENT),
        (SILENT, KILLED, KILLED),
        (None, KILLED, KILLED),
        (PEER, None, PEER),
        (None, None, None),
    ],
)
def test_the_end_that_explains_the_others_counts_wherever_it_was(tmp_path, here, there, expected):
    first, second = machine(tmp_path, 0), machine(tmp_path, 1)
    second.tell(Told(end=there))
    assert first.joined(here, lambda *_: None) == expected


def test_what_the_ranks_of_the_other_machine_measured_is_heard_by_their_ranks(tmp_path):
    first, second = machine(tmp_path, 0), machine(tmp_path, 1)
    measured = tuple((rank, Measured(cell=0, device=DEVICE, share=f"of rank {rank}")) for rank in (2, 3))
    second.tell(Told(end=None, measured=measured))
    heard = []
    assert first.joined(None, lambda rank, message: heard.append((rank, message.share))) is None
    assert heard == [(2, "of rank 2"), (3, "of rank 3")]


def test_a_machine_that_says_nothing_is_an_error_and_no_success(tmp_path):
    began = time.monotonic()
    end = machine(tmp_path, 0, heard_within_s=0.3).joined(None, lambda *_: None)
    assert time.monotonic() - began < 5
    assert end.death.message == "machine 1 did not say within 0.3 s how its ranks ended"


def test_what_an_earlier_run_of_the_job_told_is_not_heard(tmp_path):
    machine(tmp_path, 1).tell(Told(end=KILLED))
    machine(tmp_path, 1)
    end = machine(tmp_path, 0, heard_within_s=0.1).joined(None, lambda *_: None)
    assert "did not say" in end.death.message


def test_a_supervisor_that_cannot_go_on_says_why(tmp_path):
    first, second = machine(tmp_path, 0), machine(tmp_path, 1)
    second.tell_error(ValueError("the job asked for 2 GPUs"))
    assert first.joined(PEER, lambda *_: None).death.message == "ValueError: the job asked for 2 GPUs"


def test_the_way_to_a_machine_has_an_address_and_an_interface():
    end = end_towards("127.0.0.1")
    assert (end.address, end.interface) == ("127.0.0.1", "lo")
    assert interface_of("203.0.113.7") is None
    assert host_of("tcp://10.0.0.3:23456") == "10.0.0.3"
    assert host_of("file:///tmp/rendezvous") == "127.0.0.1"


def end(host, address):
    return LinkEnd(host=host, node=None, address=address, interface="eth0")


@pytest.mark.parametrize(
    ("ends", "kind"),
    [
        ([end("a", "127.0.0.1")], "inside"),
        ([end("a", "127.0.0.1"), end("a", "127.0.0.1")], "loopback"),
        ([end("a", "10.0.0.1"), end("a", "10.0.0.1")], "loopback"),
        ([end("a", "10.0.0.1"), end("b", "10.0.0.2")], "between"),
    ],
)
def test_two_ends_on_one_machine_are_a_loopback(ends, kind):
    link = link_of(ends, settings_in({"NCCL_IB_DISABLE": "1", "HOME": "/root"}))
    assert link.kind == kind
    assert link.settings == {"NCCL_IB_DISABLE": "1"}
