"""Exports of a CPU's links in sight, and bandwidth files with fits whose numbers tell where they come from."""

import json
from pathlib import Path
from typing import Any

from sailor_exp.exporters.exporter import Export
from sailor_exp.exporters.exporter import write as write_files
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.registry import exporter_named
from sailor_exp.records.files import prepare, write
from sailor_exp.records.record import Record
from tests.build.cells import gather_config
from tests.build.link_records import link_record, network_cell, rate

INTRA = Path("sailor/providers/intra_node_bandwidths.json")
MEASURED = Path("sailor/providers/multizone_bandwidths.json")
ALL = Path("sailor/providers/multizone_bandwidths_het.json")
OVERLAP = Path("sailor/Planner/baselines/Galvatron/overlap_coe_dicts.json")


def fit(gigabytes_per_s: float) -> list[Any]:
    return [[0.0, 0.0, gigabytes_per_s], gigabytes_per_s * 1e9]


def zones(*pairs: tuple[str, float]) -> dict[str, Any]:
    """A multizone file of pairs, written as `zone gpu gpus zone gpu gpus`."""
    content: dict[str, Any] = {}
    for pair, gigabytes_per_s in pairs:
        *keys, last = pair.split()
        node = content
        for key in keys:
            node = node.setdefault(key, {})
        node[last] = fit(gigabytes_per_s)
    return content


def inter(gpus: int, gigabytes_per_s: float) -> Record[Any]:
    return link_record(network_cell(ranks=gpus, nodes=2), rate(gigabytes_per_s, pairs=gpus))


def intra(ranks: int, gigabytes_per_s: float) -> Record[Any]:
    return link_record(network_cell(ranks=ranks), rate(gigabytes_per_s))


def there(root: Path, path: Path, content: object) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content if isinstance(content, str) else json.dumps(content))


def exported(tmp_path: Path, *records: Record[Any], overrides: tuple[str, ...] = ()) -> Export:
    """The export of records on a CPU, written below `export`."""
    prepare(tmp_path / "network")
    for record in records:
        write(record, tmp_path / "network")
    places = (f"network_dir={tmp_path}/network", f"export_root={tmp_path}/export")
    with Inputs(gather_config("exporter=network", *places, *overrides)) as inputs:
        export = exporter_named("network").files(inputs)
        write_files(export.files)
    return export


def content(tmp_path: Path, path: Path) -> Any:
    return json.loads((tmp_path / "export" / path).read_text())


def rates(node: Any) -> Any:
    """A file with the highest GB/s in place of each fit."""
    return {key: rates(child) for key, child in node.items()} if isinstance(node, dict) else round(node[1] / 1e9, 6)


def lines(export: Export) -> list[str]:
    return [text for text in export.shown if isinstance(text, str)]


def contents_below(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}


def relative(export: Export) -> set[Path]:
    """Paths of an export from the last `sailor` on."""
    return {Path(*path.parts[path.parts.index("export") + 1 :]) for path in export.files}
