import csv
import io
import sys
from pathlib import Path

import pytest

from sailor_exp.errors import MissingPackageError
from sailor_exp.exporters import tables
from sailor_exp.records.record import Outcome
from tests.build.commands import gather
from tests.build.records import FORWARD_S, cell, measured, unmeasured, write_grid

RECORDS = [
    (Path("ok.json"), measured(cell(tp=2, mbs=4), commit="abc", torch="2.9.0", steps=7)),
    (Path("oom.json"), unmeasured(cell(mbs=8), Outcome.oom)),
]


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_a_measured_cell_has_a_row_for_each_part_and_phase() -> None:
    rows = rows_of(tables.as_csv(RECORDS[:1]))
    parts, phases = ("embedding", "layer", "head"), ("forward", "backward", "update", "overhead")
    assert [(row["part"], row["phase"]) for row in rows] == [(part, phase) for part in parts for phase in phases]
    forward = rows[4]
    assert float(forward["value_s"]) == FORWARD_S["layer"] * 4 / 2
    assert float(forward["median_s"]) == pytest.approx(0.99 * FORWARD_S["layer"] * 4 / 2)
    wanted = {"model": "gpt-tiny", "gpu": "CPU", "tp": "2", "mbs": "4", "outcome": "ok", "count": "7", "commit": "abc"}
    assert {key: forward[key] for key in wanted} == wanted
    assert (forward["relative_half_width"], forward["torch"], forward["record"]) == ("0.01", "2.9.0", "ok.json")


def test_a_cell_without_numbers_has_one_row_whose_numbers_are_empty() -> None:
    (row,) = rows_of(tables.as_csv(RECORDS[1:]))
    assert (row["outcome"], row["message"], row["mbs"]) == ("oom", "ended as oom", "8")
    assert {row[key] for key in ("part", "phase", "median_s", "value_s", "count", "params_bytes")} == {""}


def test_parquet_holds_the_same_rows_with_types() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(tables.as_parquet(RECORDS)))
    assert table.column_names == list(tables.COLUMNS)
    expected = [{name: row.get(name) for name in tables.COLUMNS} for row in tables.rows(RECORDS)]
    assert table.to_pylist() == expected
    assert str(table.schema.field("value_s").type) == "double"


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'sailor-exp\[parquet\]'"):
        tables.as_parquet(RECORDS)


def test_the_table_is_written_below_the_export_root(tmp_path: Path) -> None:
    write_grid(tmp_path / "outputs/gpt-tiny/CPU", tps=(1, 2), microbatches=(1,))
    done = gather(tmp_path, "exporter=csv")
    assert (done.returncode, done.stdout) == (0, "2 records in outputs/export/tables/gpt-tiny/CPU.csv\n")
    assert len(rows_of((tmp_path / "outputs/export/tables/gpt-tiny/CPU.csv").read_bytes())) == 2 * 3 * 4
