import csv
import io
import itertools
import sys
from pathlib import Path

import pytest

from sailor_exp.config.schema import CELL_KEYS
from sailor_exp.errors import MissingPackageError
from sailor_exp.exporters import csv as csv_exporter
from sailor_exp.exporters import parquet as parquet_exporter
from sailor_exp.exporters.tables import columns, rows
from sailor_exp.profiles.registry import profile_named
from sailor_exp.records.files import read_every
from sailor_exp.records.record import Outcome
from tests.build.commands import gather
from tests.build.records import FORWARD_S, cell, changed, measured, unmeasured, write_grid
from tests.build.reference_data import REFERENCE

RECORDS = [
    (Path("ok.json"), measured(cell(tp=2, mbs=4), commit="abc", torch="2.9.0", steps=7)),
    (Path("oom.json"), unmeasured(cell(mbs=8), Outcome.oom)),
]
STORED = [
    stored
    for directory in ("gpt-tiny/CPU", "network/CPU")
    for stored in read_every(REFERENCE / "demo-all/outputs" / directory, lambda name: profile_named(name).schema)
]
ABOUT_THE_FILE = {"started_at", "finished_at", "record"}


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def as_csv(records) -> list[dict[str, str]]:
    return rows_of(csv_exporter.rendered(columns(), rows(records)))


def test_a_measured_cell_has_a_row_for_each_part_and_phase() -> None:
    table = as_csv(RECORDS[:1])
    parts, phases = ("embedding", "layer", "head"), ("forward", "backward", "update", "overhead")
    assert [(row["part"], row["phase"]) for row in table] == [(part, phase) for part in parts for phase in phases]
    forward = table[4]
    assert float(forward["value_s"]) == FORWARD_S["layer"] * 4 / 2
    assert float(forward["median_s"]) == pytest.approx(0.99 * FORWARD_S["layer"] * 4 / 2)
    wanted = {"model": "gpt-tiny", "gpu": "CPU", "tp": "2", "mbs": "4", "outcome": "ok", "count": "7", "commit": "abc"}
    assert {key: forward[key] for key in wanted} == wanted
    assert (forward["relative_half_width"], forward["torch"], forward["record"]) == ("0.01", "2.9.0", "ok.json")


def test_a_time_on_a_gpu_with_a_peak_has_its_share_of_it() -> None:
    opt = measured(cell("model=opt-350", "gpu=a100-40"))
    shares = {(row["part"], row["phase"]): row for row in as_csv([(Path("opt.json"), opt)])}
    head, update = shares["head", "forward"], shares["embedding", "update"]
    assert float(head["share_of_peak"]) == pytest.approx(2 * 2048 * 1024 * 50304 / 0.002 / 19.5e12)
    assert float(update["share_of_bandwidth"]) == pytest.approx(28 * 53608448 / 0.0005 / 1555e9)
    assert (update["share_of_peak"], head["share_of_bandwidth"] != "") == ("", True)
    overhead = shares["head", "overhead"]
    assert (overhead["share_of_peak"], overhead["share_of_bandwidth"]) == ("", "")


def test_a_time_on_a_cpu_has_no_share() -> None:
    assert {(row["share_of_peak"], row["share_of_bandwidth"]) for row in as_csv(RECORDS)} == {("", "")}


def test_a_phase_that_launches_bind_is_marked() -> None:
    record = measured(cell())
    kinds = dict(record.measured.statistics.kinds)
    forward = kinds["head"].forward.model_copy(update={"launch_s": 0.002, "launch_bound": True})
    kinds["head"] = kinds["head"].model_copy(update={"forward": forward})
    statistics = record.measured.statistics.model_copy(update={"kinds": kinds})
    table = as_csv([(Path("ok.json"), changed(record, statistics=statistics))])
    marks = {(row["part"], row["phase"]): (row["launch_s"], row["launch_bound"]) for row in table}
    assert marks.pop(("head", "forward")) == ("0.002", as_csv(RECORDS[:1])[0]["converged"])
    assert set(marks.values()) == {("", "")}


def test_a_cell_without_numbers_has_one_row_whose_numbers_are_empty() -> None:
    (row,) = as_csv(RECORDS[1:])
    assert (row["outcome"], row["message"], row["mbs"]) == ("oom", "ended as oom", "8")
    assert {row[key] for key in ("part", "phase", "median_s", "value_s", "count", "params_bytes")} == {""}


@pytest.mark.parametrize("profile", sorted({record.identity.profile for _, record in STORED}))
def test_every_row_of_every_profile_has_a_number(profile: str) -> None:
    numbers = ("value", "value_s")
    measured = [
        stored for stored in STORED if stored[1].identity.profile == profile and stored[1].outcome is Outcome.ok
    ]
    table = list(rows(measured))
    assert table
    for row in table:
        assert any(row.get(name) is not None for name in numbers), row


def test_no_two_rows_differ_in_the_name_of_their_file_only() -> None:
    seen: dict[tuple, str] = {}
    for row in rows(STORED):
        said = tuple(sorted((key, str(value)) for key, value in row.items() if key not in ABOUT_THE_FILE))
        assert said not in seen, (row["record"], seen[said])
        seen[said] = row["record"]


def test_every_key_of_a_cell_is_a_column() -> None:
    assert set(CELL_KEYS) <= columns().keys()
    (row,) = itertools.islice(rows(STORED[:1]), 1)
    assert {key: row[key] for key in ("pp", "tp", "mbs", "num_microbatches")} == STORED[0][1].identity.cell_keys


def test_what_a_check_measured_and_predicted_stands_in_the_table() -> None:
    (path, record) = next(stored for stored in STORED if stored[1].identity.profile == "check")
    table = [row for row in rows([(path, record)]) if row["predicted_from"] == "interleaved"]
    assert [row["quantity"] for row in table] == ["total", "forward", "backward", "update", "peak_bytes"]
    assert table[0]["value"] == record.measured.measured["total"].value_s
    assert table[0]["error"] == pytest.approx(table[0]["predicted"] / table[0]["value"] - 1)


def test_parquet_holds_the_same_rows_with_types() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(parquet_exporter.rendered(columns(), rows([*RECORDS, *STORED]))))
    assert table.column_names == list(columns())
    expected = [{name: row.get(name) for name in columns()} for row in rows([*RECORDS, *STORED])]
    assert table.to_pylist() == expected
    assert str(table.schema.field("value_s").type) == "double"


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'sailor-exp\[parquet\]'"):
        parquet_exporter.rendered(columns(), rows(RECORDS))


def test_the_table_is_written_below_the_export_root(tmp_path: Path) -> None:
    write_grid(tmp_path / "outputs/gpt-tiny/CPU", tps=(1, 2), microbatches=(1,))
    done = gather(tmp_path, "exporter=csv")
    assert (done.returncode, done.stdout) == (
        0,
        "csv of gpt-tiny on CPU: 2 records in outputs/export/tables/gpt-tiny/CPU.csv\n",
    )
    assert len(rows_of((tmp_path / "outputs/export/tables/gpt-tiny/CPU.csv").read_bytes())) == 2 * 3 * 4
