"""Whatever a login node runs starts at once: it imports nothing that computes."""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "deepspeed", "megatron")


@pytest.mark.parametrize(
    "module",
    [
        "sailor_exp.launching",
        "sailor_exp.report.page",
        "sailor_exp.slurm.grid",
        "sailor_exp.exporters.sailor.accuracy",
        "sailor_exp.slurm.other_applications",
        "sailor_exp.slurm.rendezvous",
        "sailor_exp.gathering",
        "sailor_exp.exporters.network.merge",
        "sailor_exp.exporters.network.show",
        "sailor_exp.profiles.network.profile",
        "sailor_exp.profiles.overlap.profile",
        "hydra_plugins.sailor_exp_launcher.local",
        "hydra_plugins.sailor_exp_launcher.slurm",
    ],
)
def test_supervising_imports_nothing_that_computes(module):
    program = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_fork_server_imports_no_compiler():
    told = "'torch._inductor' in sys.modules, torch.compile.__module__"
    program = f"import sys, sailor_exp.sweep.rank_process, torch; print({told})"
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False", "torch"]


def test_the_plugins_that_every_hydra_application_loads_do_not_import_submitit():
    program = "import sys, hydra_plugins.sailor_exp_launcher.slurm; print('submitit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
