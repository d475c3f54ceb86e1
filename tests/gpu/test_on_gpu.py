"""The checks of `prove` that need no command, as tests of a machine that has a GPU: pytest -m gpu."""

import subprocess
import sys

import pytest

from tests.gpu.by_command import ROOT, environment_of
from tests.gpu.checks import CHECKS
from tests.gpu.on_device import MARKER
from tests.gpu.run import _kind_here

ON_DEVICE = [check for check in CHECKS if check.on_device and check.limit != "none"]


@pytest.fixture(scope="module")
def kind():
    """The kind of this machine's GPU."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this machine has no GPU that torch can use")
    try:
        return _kind_here(environment_of(None))
    except SystemExit as error:
        pytest.skip(str(error))


@pytest.mark.gpu
@pytest.mark.parametrize("check", ON_DEVICE, ids=lambda check: check.name)
def test_a_check_holds(kind, check):
    command = [sys.executable, "-m", "tests.gpu.on_device", kind, "full", check.name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    told = [line for line in done.stdout.splitlines() if line.startswith(MARKER)]
    assert told, done.stderr
    assert '"verdict": "pass"' in told[0], (told[0], check.limit)
