"""How far the sum of the parts is from real training steps: `make accuracy`.

A fixed grid on CPU: two models of different kind, tp 1 and 2, two microbatch sizes, two microbatches a step, and a
pipeline of two stages. First the parts alone, as a user measures them; then, in runs of their own, the full models in
turn with their parts. Prints every cell, the median and the largest error, and what the marks cost.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from sailor_exp.exporters.sailor.accuracy import CheckedCell, as_text, checked_cells
from tests.bench.marked_ranks import marking_cost
from tests.build.cells import gather_config

ROOT = Path(__file__).resolve().parent.parent.parent

GPT = ("model.name=gpt-8", "model.num_layers=8")
LLAMA = (
    "model.name=llama-8",
    "model.num_layers=8",
    "model.ffn_hidden_size=352",
    "model.num_query_groups=2",
    "model.normalization=RMSNorm",
    "model.activation=swiglu",
    "model.position_embedding_type=rope",
    "model.add_bias_linear=false",
    "model.separate_final_norm=true",
)
LAYERS = ("tp=1,2", "mbs=2,4")
CHECKS = (
    ("tp=1,2", "mbs=2,4", "pp=1", "num_microbatches=2"),
    ("tp=1", "mbs=2,4", "pp=2", "num_microbatches=4"),
)
CHECK_LIMIT = 0.2


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=48)
    arguments.add_argument("--keep", type=Path, help="a directory for the records; otherwise they are thrown away")
    asked = arguments.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        directory = asked.keep or Path(temporary)
        print(f"load before: {' '.join(f'{load:.2f}' for load in os.getloadavg())}, {os.cpu_count()} cores")
        cells = [cell for model in (GPT, LLAMA) for cell in measured(directory, model, asked.steps)]
        summary(cells)
        for tp in (1, 2):
            cost = marking_cost(Path(tempfile.mkdtemp(dir=temporary)), GPT, tp=tp, rounds=4 * asked.steps)
            print(f"marks at tp={tp}: {100 * cost.share:+.2f}% ± {100 * cost.half_width:.2f} "
                  f"of {1e3 * cost.unmarked_s:.1f} ms   (aim: at most 1%)")  # fmt: skip
    print(f"took {time.monotonic() - started:.0f} s, load after: {os.getloadavg()[0]:.2f}")


def measured(directory: Path, model: Sequence[str], steps: int) -> list[CheckedCell]:
    """Measure one model's grid, print it, and return its cells."""
    name = model[0].partition("=")[2]
    fixed = [*model, f"profile_dir={directory / name}", f"sampling.min_steps={steps}", f"sampling.max_steps={steps}"]
    launch("profile=layers", *LAYERS, *fixed)
    for check in CHECKS:
        launch("profile=check", *check, *fixed)
    cells = list(checked_cells(gather_config(*model, f"profile_dir={directory / name}")))
    print(f"{name}\n{as_text(cells, CHECK_LIMIT)}\n")
    return cells


def launch(*arguments: str) -> None:
    command = [sys.executable, "launch.py", "-m", "vm='2'", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def summary(cells: Iterable[CheckedCell]) -> None:
    """Median and largest error of each quantity over all cells, by source."""
    rows = [row for cell in cells for row in cell.rows]
    for source in ("interleaved", "earlier"):
        for quantity in ("total", "forward", "backward", "update", "peak_bytes"):
            errors = [row.error for row in rows if (row.source, row.quantity) == (source, quantity)]
            sizes = [abs(error) for error in errors]
            print(f"{source:11}  {quantity:10}  median {100 * statistics.median(sizes):5.1f}%  "
                  f"largest {100 * max(sizes):5.1f}%  mean {100 * statistics.fmean(errors):+5.1f}%")  # fmt: skip


if __name__ == "__main__":
    main()
