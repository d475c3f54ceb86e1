"""A cell whose rank starts in a fresh process instead of a fork: `python -m tests.gpu.spawned KIND DIRECTORY`."""

import sys

from sailor_exp.sweep.rank_group import fresh_processes
from sailor_exp.sweep.sweep import Sweep
from tests.build.cells import cell


class _Quiet:
    """Shows nothing."""

    def running(self, cell, phase, steps):
        return

    def done(self, cell, outcome, *, reused):
        return


def main(kind: str, directory: str) -> None:
    """Measure gpt-tiny, and print how the cell ended."""
    asked = cell(f"gpu={kind}", f"profile_dir={directory}", "tp=1", "mbs=1", "sampling.max_steps=16")
    sweep = Sweep([asked], _Quiet())
    sweep._fresh = fresh_processes()
    sweep.run_pack([0])
    [result] = sweep.results()
    print(result.record.outcome.value, result.record.ending or "")


if __name__ == "__main__":
    main(*sys.argv[1:])
