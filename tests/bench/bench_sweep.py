"""How much of a sweep is measuring: `make bench`.

Runs the same cells with the same number of steps three ways: as a sweep, as one launch under DeepSpeed's launcher
for every cell, and counts the floor, the timed regions of the sweep's own records, warm-up included.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sailor_exp.profiles.layers.measurement import LayersMeasurement, Samples
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome

ROOT = Path(__file__).resolve().parent.parent.parent
TIMES = ("forward_s", "backward_s", "update_s", "overhead_s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tp", default="1,2")
    arguments.add_argument("--mbs", default="1,2,4,8")
    arguments.add_argument("--steps", type=int, default=64)
    asked = arguments.parse_args()
    fixed = [f"sampling.min_steps={asked.steps}", f"sampling.max_steps={asked.steps}", "sampling.budget_s=600"]
    with tempfile.TemporaryDirectory() as directory:
        ours_s = timed([sys.executable, "launch.py", "-m", f"tp={asked.tp}", f"mbs={asked.mbs}",
                        f"profile_dir={directory}", *fixed])  # fmt: skip
        floor_s = floor(Path(directory))
    cells = list(itertools.product(asked.tp.split(","), asked.mbs.split(",")))
    naive_s = sum(naive(tp, mbs, fixed) for tp, mbs in cells)
    print(f"{len(cells)} cells of {asked.steps} steps and 3 of warm-up")
    print(f"sweep {ours_s:.1f} s, a launch for each cell {naive_s:.1f} s, timed regions {floor_s:.1f} s")
    print(f"ours/naive {ours_s / naive_s:.2f}   (aim: at most 0.25)")
    print(f"ours/floor {ours_s / floor_s:.2f}   (aim: at most 1.35)")
    print(f"the rest: {ours_s - floor_s:.1f} s of imports, composing, starting ranks and what lies between steps")


def timed(command: list[str]) -> float:
    """Wall-clock seconds of a command, which must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - started


def naive(tp: str, mbs: str, fixed: list[str]) -> float:
    """Seconds of one cell by itself, from the launcher's start to its end."""
    with tempfile.TemporaryDirectory() as directory:
        task = json.dumps([[f"tp={tp}", f"mbs={mbs}", *fixed], f"{directory}/rendezvous"])
        launcher = [str(Path(sys.executable).with_name("deepspeed")), "--num_accelerators", tp]
        return timed([*launcher, "--module", "tests.bench.naive_cell", task])


def floor(profile_dir: Path) -> float:
    """Seconds inside the timed regions of all records."""
    total = 0.0
    for _, made in record_files.read_all(profile_dir, "layers", LayersMeasurement):
        assert made.outcome is Outcome.ok
        total += timed_regions(made.measured.samples)
    return total


def timed_regions(samples: Samples) -> float:
    """Of each step the slowest rank's phases and calibration, summed."""
    ranks, steps = len(samples.calibration_s), len(samples.calibration_s[0])
    return sum(
        max(
            samples.calibration_s[rank][step]
            + sum(getattr(part, times)[rank][step] for part in samples.parts for times in TIMES)
            for rank in range(ranks)
        )
        for step in range(steps)
    )


if __name__ == "__main__":
    main()
