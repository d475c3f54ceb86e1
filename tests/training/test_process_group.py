import os
import subprocess
import sys

import pytest
import torch

from sailor_exp.training.process_group import join_group
from tests.build.cells import cell
from tests.conftest import ROOT


def test_a_group_without_a_model_meets_and_loads_neither_deepspeed_nor_megatron(tmp_path):
    program = """
import sys
import torch
from sailor_exp.instruments.agreement import RankAgreement
from sailor_exp.training.process_group import join_group
from tests.build.link_records import network_cell

join_group(0, network_cell(ranks=1), f"file://{sys.argv[1]}", with_model=False)
assert RankAgreement(torch.device("cpu")).maximum([1.0, 2.0]) == [1.0, 2.0]
print([name for name in ("deepspeed", "megatron") if name in sys.modules])
"""
    command = [sys.executable, "-c", program, str(tmp_path / "rendezvous")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize(
    ("precision", "with_model", "allowed"),
    [("tf32", True, True), ("fp32", True, False), ("bf16", True, False), ("tf32", False, False)],
)
def test_tf32_is_allowed_in_cells_of_that_precision_alone(tmp_path, precision, with_model, allowed):
    """The product of profile=overlap is fp32: its identity has no precision."""
    program = """
import sys
import torch
from sailor_exp.training.process_group import join_group
from tests.build.cells import cell

path, precision, with_model = sys.argv[1:]
torch.backends.cuda.matmul.allow_tf32 = True
join_group(0, cell(f"precision={precision}"), f"file://{path}", with_model=with_model == "True")
print(torch.backends.cuda.matmul.allow_tf32)
"""
    arguments = [str(tmp_path / "rendezvous"), precision, str(with_model)]
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == [str(allowed)], done.stderr


@pytest.mark.parametrize(
    ("overrides", "named", "chosen"),
    [
        (("gpu=a100-40", "nodes=2", "ranks=1"), {}, {"NCCL_SOCKET_IFNAME": "=lo"}),
        (("gpu=a100-40", "nodes=2", "ranks=1"), {"NCCL_SOCKET_IFNAME": "ib0"}, {"NCCL_SOCKET_IFNAME": "ib0"}),
        (("gpu=a100-40", "nodes=1", "ranks=2"), {}, {}),
        (("gpu=cpu", "nodes=2", "ranks=1"), {}, {"GLOO_SOCKET_IFNAME": "lo"}),
    ],
)
def test_ranks_on_several_machines_meet_on_the_interface_towards_the_first(monkeypatch, overrides, named, chosen):
    joined = []
    monkeypatch.setattr(os, "environ", dict(named))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: joined.append(dict(os.environ)))
    join_group(0, cell("profile=network", *overrides), "tcp://127.0.0.1:20001", with_model=False)
    assert {name: value for name, value in joined[0].items() if name.endswith("_IFNAME")} == chosen
