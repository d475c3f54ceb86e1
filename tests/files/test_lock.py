import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sailor_exp.errors import LockError
from sailor_exp.files.lock import locked
from tests.build.commands import ROOT


def test_a_lock_that_is_held_is_told_after_the_wait(tmp_path: Path) -> None:
    told = pytest.raises(LockError, match=r"another process has held it for 0\.05 s")
    with locked(tmp_path / "lock"), told, locked(tmp_path / "lock", timeout_s=0.05):
        pytest.fail("locked twice")
    with locked(tmp_path / "lock", timeout_s=0.05):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sailor_exp.files.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(LockError), locked(tmp_path / "lock", timeout_s=0.05):
        pytest.fail("locked twice")
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "lock", timeout_s=0.05):
        pass
    holder.stdout.close()
