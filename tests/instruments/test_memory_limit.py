import subprocess
import sys


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
