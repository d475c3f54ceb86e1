"""On CUDA autograd calls the chain's hooks in a thread of the device: marks must be right from there, too."""

import subprocess
import sys

from tests.conftest import ROOT

PROGRAM = """
import threading
from dataclasses import fields

import torch

from sailor_exp.instruments.clock import CpuClock
from sailor_exp.training.chain import Chain, _BackwardMarks, _names
from sailor_exp.training.parts import Batch, batch_of, build_parts
from tests.build.cells import cell
from tests.build.fake_ranks import fake_group
from tests.emulated_cuda import far_device


class Noting(CpuClock):
    def __init__(self):
        self.threads = []

    def now(self):
        self.threads.append(threading.current_thread())
        return super().now()


def stepped(parts, batch):
    chain, heard = Chain.__new__(Chain), []
    chain.parts, chain.names, chain._clock = parts, _names(parts), Noting()
    marks = _BackwardMarks(chain._clock, chain.names, heard.append)
    _, loss = chain._forward(batch, marks, heard.append)
    chain._clock.threads.clear()
    intervals = marks.backward(loss)
    assert all(0 < interval.start < interval.stop for interval in intervals), intervals
    assert [a.stop for a in reversed(intervals)][:-1] == [b.start for b in reversed(intervals)][1:]
    return heard, chain._clock.threads


far_device.start()
asked = cell("tp=1", "mbs=1", "model.seq_length=8", "model.max_position_embeddings=8")
device = torch.device("cpu")
with fake_group(1):
    parts, batch = build_parts(asked, device), batch_of(asked, device)
    near_phases, near_threads = stepped(parts, batch)
    expected = [parameter.grad.clone() for part in parts for parameter in part.parameters()]
    for part in parts:
        far_device.move(part)
    far = Batch(**{one.name: far_device.Far(getattr(batch, one.name)) for one in fields(Batch)})
    far_phases, far_threads = stepped(parts, far)
    found = [parameter.grad.near for part in parts for parameter in part.parameters()]
assert far_phases == near_phases
for before, after in zip(expected, found, strict=True):
    torch.testing.assert_close(before, after, rtol=0, atol=0)
main = threading.main_thread()
print([thread is main for thread in near_threads], [thread is main for thread in far_threads])
"""


def test_marks_of_the_backward_come_from_the_devices_own_thread_in_order_and_change_no_gradient():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{[True] * 5} {[True, False, False, False, True]}", done.stderr
