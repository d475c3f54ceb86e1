import subprocess
import sys

import pytest
import torch

from sailor_exp.instruments.footprint import footprint
from sailor_exp.instruments.peaks import CpuPeakMeter, CudaPeakMeter, PhaseBytes

MIB = 2**20


def test_a_storage_seen_twice_counts_once():
    tensor = torch.zeros(10, 10)
    found = footprint([tensor, tensor.t(), tensor[2:]])
    assert (found.floats, found.bytes) == (100, 400)


def test_elements_are_counted_in_their_own_type():
    found = footprint([torch.zeros(8, dtype=torch.int64), torch.zeros(8, dtype=torch.bool)])
    assert (found.floats, found.bytes) == (16, 72)


def test_the_cpu_meter_sees_the_highest_moment_of_each_phase():
    with CpuPeakMeter(lasting_bytes=7 * MIB) as meter:
        meter.entering("first")
        kept = torch.empty(2 * MIB, dtype=torch.uint8)
        for _ in range(3):
            torch.empty(4 * MIB, dtype=torch.uint8)
        meter.entering("second")
        del kept
        again = torch.empty(MIB, dtype=torch.uint8)
    del again
    assert meter.peaks() == {"first": 6 * MIB, "second": 0}
    assert meter.phases() == {
        "first": PhaseBytes(began=7 * MIB, highest=13 * MIB, ended=9 * MIB),
        "second": PhaseBytes(began=9 * MIB, highest=9 * MIB, ended=8 * MIB),
    }
    assert meter.peak() == 13 * MIB


def test_a_phase_that_comes_back_is_one_phase():
    with CpuPeakMeter(lasting_bytes=0) as meter:
        for size in (3, 5, 1):
            meter.entering("forward")
            kept = torch.empty(size * MIB, dtype=torch.uint8)
            meter.entering("backward")
            del kept
    assert meter.phases()["forward"] == PhaseBytes(began=0, highest=5 * MIB, ended=MIB)


@pytest.fixture
def gloo_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_tensor_that_another_thread_reduced_is_seen_to_go(gloo_alone):
    with CpuPeakMeter(lasting_bytes=0) as meter:
        meter.entering("reducing")
        for _ in range(100):
            torch.distributed.all_reduce(torch.empty(MIB, dtype=torch.uint8))
    assert meter.phases()["reducing"] == PhaseBytes(began=0, highest=MIB, ended=0)


def test_the_cuda_meter_asks_the_allocator_at_each_border(monkeypatch):
    figures = iter([100, 130, 120])
    highest = iter([160, 145])
    resets = []
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(figures))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: next(highest))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    device = torch.device("cuda", 0)
    with CudaPeakMeter(device, apart_bytes=10) as meter:
        meter.entering("forward head")
        meter.entering("backward head")
    assert meter.peaks() == {"forward head": 60, "backward head": 15}
    assert meter.phases()["backward head"] == PhaseBytes(began=120, highest=135, ended=110)
    assert meter.peak() == 150
    assert resets == [device, device]


def run_limited(program: str) -> int:
    """Exit status of a child that runs under a limit of its own."""
    return subprocess.run([sys.executable, "-c", program], check=False).returncode


def test_a_limited_process_runs_out_of_memory_for_real_and_recovers():
    program = """
import torch
from sailor_exp.instruments.memory_limit import limit_data, without_limit
limit_data(64 * 2**20)
torch.empty(32 * 2**20, dtype=torch.uint8)
try:
    torch.empty(256 * 2**20, dtype=torch.uint8)
except RuntimeError as error:
    assert "can't allocate memory" in str(error)
else:
    raise SystemExit("allocated beyond the limit")
with without_limit():
    kept = torch.empty(256 * 2**20, dtype=torch.uint8)
torch.empty(32 * 2**20, dtype=torch.uint8)
"""
    assert run_limited(program) == 0


def test_the_limit_stands_again_after_it_was_lifted_with_what_the_instrument_kept():
    program = """
from resource import RLIM_INFINITY, RLIMIT_DATA, getrlimit
from sailor_exp.instruments.memory_limit import held_bytes, limit_data, limited, without_limit
assert not limited()
with without_limit():
    assert not limited()
limit_data(64 * 2**20)
before = getrlimit(RLIMIT_DATA)[0]
with without_limit():
    assert getrlimit(RLIMIT_DATA)[0] == RLIM_INFINITY
    kept = bytearray(256 * 2**20)
assert limited()
assert 256 * 2**20 <= getrlimit(RLIMIT_DATA)[0] - before < 300 * 2**20
"""
    assert run_limited(program) == 0


@pytest.mark.ranks
def test_a_layer_keeps_what_can_be_counted_by_hand(launch, tmp_path):
    from sailor_exp.records import files as record_files

    quick = ("sampling.min_steps=2", "sampling.max_steps=2", "sampling.warmup=2")
    status, output = launch("tp=1", "mbs=3", "profile_dir=out", *quick)
    assert status == 0, output
    ((_, made),) = record_files.read_all(tmp_path / "out")
    sequence, batch, hidden, heads, vocabulary = 128, 3, 128, 8, 4096
    tokens = sequence * batch
    # Inputs of both norms, of the three projections that follow them, query, key, value, the context, the feed-forward
    # network's activation before and after GELU; the attention weights; mean and deviation of each norm's rows.
    layer = tokens * hidden * (2 + 2 + 3 + 1 + 4 + 4) + batch * heads * sequence**2 + 4 * tokens
    kinds = made.memory.kinds
    assert kinds["layer"].act_mem_floats == layer
    assert kinds["layer"].act_mem_bytes == 4 * layer
    assert kinds["layer"].act_input_floats == kinds["layer"].act_output_floats == tokens * hidden
    assert kinds["head"].act_output_floats == tokens * vocabulary + 1
    assert kinds["embedding"].act_input_bytes == 2 * tokens * 8
    states = 4 * sum(kinds[kind].params_bytes * count for kind, count in (("embedding", 1), ("layer", 2), ("head", 1)))
    kept = 2 * kinds["layer"].act_mem_bytes + kinds["head"].act_mem_bytes
    assert made.memory.peak_bytes == pytest.approx(states * 3 / 4 + kept, rel=0.25)
