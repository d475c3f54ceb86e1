"""profile=network and profile=overlap as a user runs them, with real ranks."""

import json
import signal

import pytest

from sailor_exp.profiles.overlap.measurement import slowdown
from sailor_exp.profiles.registry import profile_named
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome
from tests.build.commands import gather
from tests.commands.rank_traffic import wait_until_they_talk

pytestmark = pytest.mark.sweep

SMALL = ("profile.most_bytes=262144", "sampling.min_steps=8", "sampling.max_steps=8", "sampling.warmup=2")
ENDLESS = ("sampling.min_steps=1000000", "sampling.max_steps=1000000")
PROFILES = ("network", "overlap")


def records(directory, profile=None):
    every = record_files.read_every(directory / "outputs/network/CPU", lambda name: profile_named(name).schema)
    return [made for _, made in every if profile in {None, made.identity.profile}]


def test_links_and_overlap_are_measured_gathered_and_not_measured_twice(launch, tmp_path):
    inside = ("-m", "profile=network", "vm=2", "ranks=2", *SMALL)
    status, output = launch(*inside)
    assert status == 0, output
    (made,) = records(tmp_path)
    assert [each.operation for each in made.measurement.series] == [
        "ring",
        "all_reduce",
        "all_gather",
        "reduce_scatter",
    ]
    for series in made.measurement.series:
        assert [size.size_bytes for size in series.sizes] == [2**16, 2**17, 2**18]
        assert all(len(rank) == 10 for size in series.sizes for rank in size.seconds)
        assert all(len(size.seconds) == 2 for size in series.sizes)
    assert made.measurement.link.kind == "inside"

    status, output = launch("-m", "profile=network", "vm=2", "nodes=2", "ranks=1,2", *SMALL)
    assert status == 0, output
    assert "this is one machine, which stands for all of them: the link is the loopback" in output
    status, output = launch("-m", "profile=overlap", "vm=2", "ranks=2", *SMALL[1:])
    assert status == 0, output
    (overlapped,) = records(tmp_path, "overlap")
    assert overlapped.measurement.method == "threads"
    assert slowdown(overlapped.measurement).coefficient >= 1

    done = gather(tmp_path, "vm=2", "exporter=network")
    assert done.returncode == 0, done.stdout + done.stderr
    network = json.loads((tmp_path / "outputs/export/sailor/providers/network_coeffs_all_homo.json").read_text())
    assert {scope: list(gpus["CPU"]) for scope, gpus in network.items()} == {"inter": ["1", "2"], "intra": ["2"]}
    assert all(link[1] > 0 for gpus in network.values() for link in gpus["CPU"].values())

    status, output = launch(*inside)
    assert status == 0
    assert "was there" in output


@pytest.mark.parametrize("profile", PROFILES)
def test_a_killed_rank_fails_its_cell_with_rank_and_signal(start_sweep, tmp_path, profile):
    sweep = start_sweep("-m", f"profile={profile}", "ranks=2", *ENDLESS)
    first, victim = sweep.wait_for_ranks(2)
    wait_until_they_talk(sweep, [first, victim])
    victim.kill()
    output = sweep.finish()
    assert sweep.process.returncode == 1, output
    (made,) = records(tmp_path)
    assert (made.outcome, made.ending.rank, made.ending.signal) == (Outcome.failed, 1, "SIGKILL")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_link_that_stalls_ends_its_cell_as_timeout(start_sweep, tmp_path, profile):
    sweep = start_sweep("-m", f"profile={profile}", "ranks=2", "stall_s=4", *ENDLESS)
    first, second = sweep.wait_for_ranks(2)
    wait_until_they_talk(sweep, [first, second])
    second.send_signal(signal.SIGSTOP)
    output = sweep.finish()
    assert sweep.process.returncode == 1, output
    (made,) = records(tmp_path)
    assert made.outcome is Outcome.timeout
    assert "silent for 4 s" in made.ending.message


@pytest.mark.parametrize(
    ("profile", "limits", "phase"),
    [
        (
            "network",
            ("gpu.memory_gb=0.05", "profile.least_bytes=67108864", "profile.most_bytes=67108864"),
            "ring 64.0 MiB",
        ),
        ("overlap", ("gpu.memory_gb=0.001",), "building"),
    ],
)
def test_running_out_of_memory_is_a_result_that_says_where(launch, tmp_path, profile, limits, phase):
    status, output = launch("-m", f"profile={profile}", "ranks=2", *limits)
    assert status == 0, output
    (made,) = records(tmp_path)
    assert (made.outcome, made.ending.phase) == (Outcome.oom, phase)


def test_two_machines_of_gpus_are_not_measured_on_one(launch, tmp_path):
    status, output = launch("-m", "profile=network", "gpu=a100-40", "nodes=2", "ranks=2")
    assert status == 2
    assert "nodes=2 with gpu=A100-40 needs 2 machines, and this is one" in output
    assert not (tmp_path / "outputs/network").exists()
