"""The published data of OPT-350, laid out as an export root, and what the published exporters made of it."""

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.registry import exporter_named
from tests.build.cells import gather_config

REFERENCE = Path(__file__).resolve().parent.parent / "reference"
PUBLISHED = REFERENCE / "published"
MODEL = ("model=opt-350", "gpu=a100-40")


def published(name: str) -> Any:
    return json.loads((PUBLISHED / name).read_text())


def lay_out(root: Path) -> tuple[str, ...]:
    """Copy the published files to where gather.py looks for them; returns the overrides that name the places."""
    places = {
        "profiles_tmp.json": "export/sailor/Planner/simulations/profiles_tmp.json",
        "llm_info.json": "export/sailor/Planner/llm_info.json",
        "network_coeffs.json": "export/sailor/providers/network_coeffs_all_homo.json",
        "overlap_coe_dicts.json": "export/sailor/Planner/baselines/Galvatron/overlap_coe_dicts.json",
        "varuna_profile_OPT-350.json": "profiles/varuna_profile_OPT-350_A100-40.json",
        "oobleck_profile_OPT-350.json": "profiles/oobleck_profile_OPT-350_A100-40.json",
        "galvatron_memory_raw_OPT-350_A100-40.json": "profiles/memory_profile.json",
    }
    for name, place in places.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PUBLISHED / name, root / place)
    return (*MODEL, f"export_root={root}/export", f"profile_dir={root}/profiles")


def inputs(root: Path, exporter: str, vm: int = 4, *overrides: str) -> Inputs:
    """What an exporter reads of the published data; lay it out first."""
    config = gather_config(
        *MODEL,
        f"export_root={root}/export",
        f"profile_dir={root}/profiles",
        f"exporter={exporter}",
        f"vm='{vm}'",
        *overrides,
    )
    return Inputs(config)


def exported(root: Path, exporter: str, vm: int = 4, *overrides: str) -> dict[str, Any]:
    """Files of an exporter from the published data, parsed."""
    files = exporter_named(exporter).files(inputs(root, exporter, vm, *overrides)).files
    return {path.name: parsed(path.name, content) for path, content in files.items()}


def expected(planner: str, vm: int | None = None) -> dict[str, Any]:
    """Files that the published exporter made, parsed."""
    directory = REFERENCE / "expected" / planner / "OPT-350" / "A100-40" / (f"gpn{vm}" if vm else "")
    return {path.name.removesuffix(".gz"): parsed(path.name, path.read_bytes()) for path in directory.iterdir()}


def parsed(name: str, content: bytes) -> Any:
    if name.endswith(".gz"):
        return parsed(name.removesuffix(".gz"), gzip.decompress(content))
    return np.load(io.BytesIO(content)).tolist() if name.endswith(".npy") else json.loads(content)


def leaves(content: Any, *path: str) -> dict[tuple[str, ...], Any]:
    """Values of nested JSON by the keys that lead to them; an empty object or list is a value."""
    children = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(children, dict) or not children:
        return {path: content}
    return {place: leaf for key, child in children.items() for place, leaf in leaves(child, *path, str(key)).items()}


def differing(ours: Any, theirs: Any) -> dict[tuple[str, ...], tuple[Any, Any]]:
    """Leaves that differ by more than 1e-9 relative, or that one of the two does not have, with both values."""
    left, right = leaves(ours), leaves(theirs)
    pairs = {place: (left.get(place), right.get(place)) for place in left | right}
    return {place: pair for place, pair in pairs.items() if not _equal(*pair)}


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return abs(ours - theirs) <= 1e-9 * abs(theirs)
    return type(ours) is type(theirs) and ours == theirs
