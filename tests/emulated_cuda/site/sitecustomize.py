"""Python imports this module when it starts: as soon as torch is imported, its process has the emulated GPU."""

import importlib.abc
import importlib.machinery
import os
import sys


class _AfterTorch(importlib.abc.MetaPathFinder):
    """Finds torch as the other finders do, and installs the emulation when it has run."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def run_and_install(module):
            run(module)
            from tests.emulated_cuda import commands

            commands.install_in_this_process()

        spec.loader.exec_module = run_and_install
        return spec


if "SAILOR_EXP_EMULATED_CUDA" in os.environ:
    sys.meta_path.insert(0, _AfterTorch())
