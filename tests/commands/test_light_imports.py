"""Whatever a login node runs starts at once: it imports nothing that computes.

`make lint` holds what names its imports to that, by import-linter's contracts. Here is what they do not see: the
plugins, and what is imported by a string.
"""

import os
import subprocess
import sys

from tests.build.commands import ROOT

NAMED_BY_STRINGS = """
import sys
from pathlib import Path
import launch, gather
import hydra_plugins.sailor_exp_launcher.local, hydra_plugins.sailor_exp_launcher.slurm
from sailor_exp.exporters.registry import exporter_named
from sailor_exp.profiles.registry import NAMES, profile_named

profiles = [profile_named(name) for name in NAMES]
exporters = [exporter_named(path.stem) for path in Path("conf/exporter").glob("*.yaml")]
assert profiles and exporters
print([name for name in ("torch", "deepspeed", "megatron") if name in sys.modules])
"""


def said(program: str, **environment: str) -> list[str]:
    """The words that a program prints in a process of its own, which is run in the checkout."""
    command, environment = [sys.executable, "-c", program], {**os.environ, **environment}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_commands_the_plugins_and_what_they_name_import_nothing_that_computes():
    assert said(NAMED_BY_STRINGS) == ["[]"]


def test_the_fork_server_imports_no_compiler():
    told = "'torch._inductor' in sys.modules, torch.compile.__module__"
    program = f"import sys, sailor_exp.sweep.rank_process, torch; print({told})"
    assert said(program, DS_ACCELERATOR="cpu") == ["False", "torch"]


def test_the_plugins_that_every_hydra_application_loads_do_not_import_submitit():
    program = "import sys, hydra_plugins.sailor_exp_launcher.slurm; print('submitit' in sys.modules)"
    assert said(program) == ["False"]


def test_gather_starts_without_what_only_an_export_needs():
    """They take a fifth of a second, more than half of what Hydra takes."""
    program = "import sys, gather; print([name for name in ('pydantic', 'rich', 'numpy') if name in sys.modules])"
    assert said(program) == ["[]"]
