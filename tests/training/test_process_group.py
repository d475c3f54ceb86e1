import subprocess
import sys

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
