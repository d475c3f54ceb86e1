"""A library that does not load in the ranks."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FAILS_AS_A_PACKAGE_DOES = """
import sys

if hasattr(sys, "deepspeed_was_tried"):
    raise ImportError("cannot import name 'Engine' from partially initialized module 'deepspeed'")
sys.deepspeed_was_tried = True
raise ModuleNotFoundError("No module named 'triton'")
"""


@pytest.mark.sweep
def test_the_first_error_of_an_import_reaches_the_user_and_not_what_follows_from_it(tmp_path):
    package = tmp_path / "first" / "deepspeed"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FAILS_AS_A_PACKAGE_DOES)
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "-m", "tp=1,2", "mbs=1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{package.parent}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join(done.stdout.split())
    assert done.returncode == 1
    for tp in (1, 2):
        assert (
            f"gpt-tiny CPU tp={tp} mbs=1: failed in importing: ModuleNotFoundError: No module named 'triton'." in said
        )
    assert "python -c 'import sailor_exp.sweep.rank_process' shows what needs it" in said
    assert "partially initialized" not in said
