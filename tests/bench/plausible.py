"""Which published times their GPU cannot have taken: make plausible [DATA=directory].

DATA holds profiles_tmp.json and llm_info.json of a checkout of Sailor; by default it is tests/reference/published. Each
model and GPU of them whose choice is its name in lower case goes through `gather.py exporter=plausible`, as fp32. The
table has, for each part and phase, the least and largest share of the peak (of the bandwidth, for parts without
products) and the number of times with each verdict.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.build.reference_data import PUBLISHED

ROOT = Path(__file__).resolve().parent.parent.parent
PLACES = {
    "profiles_tmp.json": "sailor/Planner/simulations/profiles_tmp.json",
    "llm_info.json": "sailor/Planner/llm_info.json",
}
HEAD = ("model", "GPU", "part and phase", "share of", "least", "largest", "times", "above", "slow")


def laid_out(data: Path, root: Path) -> dict[str, list[str]]:
    """Copy the files to where gather.py looks for them, and return the GPUs of each model."""
    for name, place in PLACES.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data / name, root / place)
    return {model: list(gpus) for model, gpus in json.loads((data / "profiles_tmp.json").read_text()).items()}


def check(root: Path, model: str, gpus: list[str]) -> list[list[str]]:
    """Run the exporter for the GPUs of a model, with its warnings, and return the rows of the table."""
    named = [f"model={model.lower()}", f"gpu={','.join(gpus).lower()}", f"export_root={root}"]
    command = [sys.executable, str(ROOT / "gather.py"), "-m", "exporter=plausible", *named]
    subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    tables = {gpu: root / "plausible" / model / f"{gpu}.csv" for gpu in gpus}
    return [row for gpu, path in tables.items() if path.exists() for row in summary(model, gpu, path)]


def summary(model: str, gpu: str, path: Path) -> list[list[str]]:
    """Return a row for each part and phase."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for time in csv.DictReader(path.open()):
        groups.setdefault((time["part"], time["phase"]), []).append(time)
    rows = []
    for (part, phase), times in groups.items():
        of = "peak" if times[0]["share_of_peak"] else "bandwidth"
        shares = sorted(float(time[f"share_of_{of}"] or "nan") for time in times)
        verdicts = Counter(time["verdict"] for time in times)
        counts = (str(len(times)), str(verdicts["above"]), str(verdicts["slow"]))
        rows.append([model, gpu, f"{part} {phase}", of, f"{shares[0]:.2f}", f"{shares[-1]:.2f}", *counts])
    return rows


def main() -> None:
    """Print the warnings, and a table of all models and GPUs."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else PUBLISHED
    with tempfile.TemporaryDirectory() as directory:
        models = laid_out(data.resolve(), Path(directory))
        rows = [row for model, gpus in models.items() for row in check(Path(directory), model, gpus)]
    for row in (HEAD, ("---",) * len(HEAD), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
