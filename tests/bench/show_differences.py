"""Prints where our exports differ from the published exporters': python -m tests.bench.show_differences."""

import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.build.reference_data import differing, expected, exported, lay_out, leaves

PLANNERS = {
    "amp": "AMP",
    "galvatron": "Galvatron",
    "metis": "Metis",
    "oobleck": "Oobleck",
    "piper": "Piper",
    "varuna": "Varuna",
}
BY_VM = {"galvatron": (1, 2, 4), "oobleck": (1, 2, 4), "varuna": (4,)}


def show(root: Path, exporter: str, vm: int) -> None:
    theirs = expected(PLANNERS[exporter], vm if exporter in BY_VM else None)
    ours = {name: content for name, content in exported(root, exporter, vm).items() if name in theirs}
    found = differing(ours, theirs)
    print(f"{PLANNERS[exporter]:9s} vm={vm}: {len(leaves(theirs))} values, {len(found)} differ")
    ratios: dict[str, list[float]] = defaultdict(list)
    for place, pair in found.items():
        ratios[re.sub(r"\d+", "#", "/".join(place))].append(_ratio(*pair))
    for point, values in ratios.items():
        print(f"    {point}: {len(values)} times, ours over theirs {min(values):.4f} to {max(values):.4f}")


def _ratio(ours: Any, theirs: Any) -> float:
    return ours / theirs


def main() -> None:
    """Print a line for each planner and VM, and one for each point in which it differs."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        lay_out(root)
        for exporter in PLANNERS:
            for vm in (1, 2, 4):
                if vm in BY_VM.get(exporter, (1, 2, 4)):
                    show(root, exporter, vm)


if __name__ == "__main__":
    main()
