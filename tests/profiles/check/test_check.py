"""From what ranks measured in a check to the table that marks records, without ranks."""

import csv

import pytest

from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.sailor.accuracy import as_csv, checked_cells
from sailor_exp.profiles.check.comparison import measured_iterations
from sailor_exp.profiles.check.measurement import CheckShare, FullSamples
from sailor_exp.profiles.check.profile import PROFILE
from sailor_exp.profiles.identity import identity_of
from sailor_exp.records import files as record_files
from sailor_exp.records.calibration import CalibrationKernel
from sailor_exp.records.record import Outcome
from sailor_exp.report.content import content_of
from sailor_exp.report.page import page
from tests.build import records
from tests.build.cells import gather_config
from tests.build.commands import gather
from tests.build.measurements import part, share
from tests.build.report_pages import parsed

STEPS = 16
QUICK = ("sampling.warmup=2", "model.num_layers=4")


def full(forward_s, backward_s, update_s, waiting_s=0.0):
    total_s = forward_s + backward_s + update_s + waiting_s
    times = {"forward": forward_s, "backward": backward_s, "update": update_s, "total": total_s, "exchange": 0.5}
    return FullSamples(**{f"{name}_s": [[99.0, 99.0] + [seconds] * STEPS] for name, seconds in times.items()})


def rank(full_samples, *, part_s=1.0, peak_bytes=1000):
    """Every phase of every part takes as long: a chain of four, the first two steps of which do not count."""
    names = {"embedding": "embedding", "layer_1": "layer", "layer_2": "layer", "head": "head"}
    times = [50.0, 50.0] + [part_s] * STEPS
    chain = share([part(name, kind, times) for name, kind in names.items()])
    return CheckShare(chain=chain, full=full_samples, peak_bytes=peak_bytes)


def checked(profile_dir, *ranks, pp=1, num_microbatches=1, precision="fp32"):
    asked = (
        f"pp={pp}", f"num_microbatches={num_microbatches}", f"precision={precision}", f"profile_dir={profile_dir}",
    )  # fmt: skip
    of = records.cell("profile=check", *QUICK, *asked)
    made = records.provenance(finished_at="2026-01-01T00:00:00+00:00")
    return records.ok(of, PROFILE.measurement(of, ranks), made)


def errors(made, source):
    (found,) = [prediction for prediction in made.measured.predictions if prediction.source == source]
    return {quantity: pytest.approx(error.value) for quantity, error in found.errors.items()}


def shown_errors(html):
    """The errors in the report's table of predictions, by what they are predicted from and of which quantity."""
    rows = parsed(html).findall(".//section[@id='accuracy']//tbody/tr")
    named = {tuple(th.text for th in row.findall("th"))[-2:]: row.findall("td")[-1] for row in rows}
    return {names: float(td.attrib["data-value"]) for names, td in named.items()}


def test_the_parts_are_added_up_and_held_against_the_step_without_the_warm_up(tmp_path):
    made = checked(tmp_path, rank(full(forward_s=6.0, backward_s=12.0, update_s=4.0)))
    assert errors(made, "interleaved") == {
        "forward": 0.0,
        "backward": 6 / 12 - 1,
        "update": 6 / 4 - 1,
        "total": 18 / 22 - 1,
    }
    check = made.measured
    assert (check.steps, check.measured["total"].value_s, check.exchange.value_s) == (STEPS, 22.0, 0.5)
    assert check.relative_half_width == 0.0


def test_microbatches_after_the_first_accumulate(tmp_path):
    made = checked(tmp_path, rank(full(12.0, 12.0 + 6.0, 6.0)), num_microbatches=2)
    assert errors(made, "interleaved") == dict.fromkeys(("forward", "backward", "update", "total"), 0.0)


def test_each_stage_goes_by_its_own_ranks(tmp_path):
    """Stages of 3 parts each; the second is twice as slow: 3 + 6 + 6 + 3 until the first is done, then its update."""
    first, second = rank(full(3.0, 3.0, 3.0, 12.0), part_s=1.0), rank(full(6.0, 6.0, 6.0, 3.0), part_s=2.0)
    made = checked(tmp_path, first, second, pp=2)
    assert made.measured.stages == [["embedding", "layer", "layer"], ["layer", "layer", "head"]]
    assert errors(made, "interleaved") == dict.fromkeys(("forward", "backward", "update", "total"), 0.0)


def test_of_a_stage_the_rank_counts_whose_step_was_slowest():
    series = {"forward_s": [[1.0], [2.0]], "backward_s": [[5.0], [3.0]], "update_s": [[1.0], [1.0]]}
    found = measured_iterations(FullSamples(**series, exchange_s=[[0.0], [0.0]], total_s=[[7.0], [6.0]]), 1)
    assert [(step.forward_s, step.backward_s, step.total_s) for step in found] == [(1.0, 5.0, 7.0)]


def test_an_earlier_record_predicts_at_the_speed_of_today(tmp_path):
    """Its calibration kernel took a millisecond, as today's; forward 1, 4, 2 ms, backward twice, update half of it."""
    of = records.cell(*QUICK, f"profile_dir={tmp_path}")
    record_files.write(records.measured(of), tmp_path)
    forward_s = 0.001 + 4 * 0.004 + 0.002
    made = checked(tmp_path, rank(full(forward_s, 2 * forward_s, forward_s)))
    (_, before) = made.measured.predictions
    assert before.record == identity_of(of).file_name
    assert before.speed == 1.0
    assert errors(made, "earlier")["backward"] == 0.0
    assert errors(made, "earlier")["forward"] == 0.0


FP32, BF16 = (CalibrationKernel(dtype=dtype, size=2048, repeats=4) for dtype in ("float32", "bfloat16"))


@pytest.mark.parametrize(
    ("then", "speed"),
    [(BF16.model_copy(update={"repeats": 40}), 0.5), (FP32, 1.0), (None, 1.0)],
    ids=["the same products", "another precision", "a record from before"],
)
def test_the_speed_of_today_is_known_by_the_same_kernel_alone(tmp_path, then, speed):
    of = records.cell(*QUICK, f"profile_dir={tmp_path}")
    record = records.measured(of)
    earlier = record.measured.samples.model_copy(update={"calibration": then, "calibration_s": [[0.002] * 6]})
    record_files.write(records.changed(record, samples=earlier), tmp_path)
    ranks = rank(full(1.0, 1.0, 1.0))
    samples = ranks.chain.samples.model_copy(update={"calibration": BF16})
    chain = ranks.chain.model_copy(update={"samples": samples})
    (_, before) = checked(tmp_path, ranks.model_copy(update={"chain": chain})).measured.predictions
    assert before.speed == speed


@pytest.mark.parametrize("method", [1, 3])
def test_a_record_of_another_method_predicts_nothing(tmp_path, method):
    record = records.measured(records.cell(*QUICK, f"profile_dir={tmp_path}"))
    identity = record.identity.model_copy(update={"method": method})
    record_files.write(record.model_copy(update={"identity": identity}), tmp_path)
    made = checked(tmp_path, rank(full(1.0, 1.0, 1.0)))
    assert [prediction.source for prediction in made.measured.predictions] == ["interleaved"]


@pytest.mark.parametrize("other", ["attention=sdpa", "optimizer=sgd", "model.num_layers=5"])
def test_a_record_of_another_cell_predicts_nothing(tmp_path, other):
    record_files.write(records.measured(records.cell(*QUICK, other, f"profile_dir={tmp_path}")), tmp_path)
    made = checked(tmp_path, rank(full(1.0, 1.0, 1.0)))
    assert [prediction.source for prediction in made.measured.predictions] == ["interleaved"]


def test_gathering_prints_and_writes_the_table_and_fails_for_a_marked_record(tmp_path):
    layers = records.measured(records.cell(*QUICK))
    record_files.write(layers, tmp_path)
    made = checked(tmp_path, rank(full(6.0, 6.0, 6.0), peak_bytes=20))
    record_files.write(made, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("records/*.json")}
    command = ["check=true", "report=true", "check_limit=0.5", "profile_dir=.", "export_root=out", "model.num_layers=4"]
    done = gather(tmp_path, *command)
    assert done.returncode == 1
    assert "+0.0%" in done.stdout
    assert f"{layers.file_name} is -99." in done.stderr
    assert f"{made.file_name} is +" in done.stderr
    (page,) = (tmp_path / "out").rglob("*.html")
    assert "interleaved" in page.read_text()
    assert "was not measured with these records" not in page.read_text()
    rows = list(csv.DictReader((tmp_path / "out/checks/gpt-tiny/CPU.csv").open()))
    marks = {(row["source"], row["quantity"]): row["above_limit"] for row in rows}
    assert marks["interleaved", "total"] == "False"
    assert marks["interleaved", "peak_bytes"] == marks["earlier", "total"] == "True"
    assert marks["earlier", "forward"] == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("records/*.json")} == before


def test_gathering_says_how_to_measure_where_nothing_was_checked(tmp_path):
    record_files.write(records.measured(records.cell(*QUICK)), tmp_path)
    done = gather(tmp_path, "check=true", "profile_dir=.", "export_root=out", "model.num_layers=4")
    assert done.returncode == 1
    assert "python launch.py -m profile=check model=gpt-tiny gpu=cpu vm=4 tp=1,2,4 mbs=1" in done.stderr


def test_checks_are_shown_where_no_cell_of_the_profile_has_numbers(tmp_path):
    record_files.write(records.unmeasured(records.cell(*QUICK), Outcome.oom), tmp_path)
    record_files.write(checked(tmp_path, rank(full(6.0, 6.0, 6.0))), tmp_path)
    done = gather(tmp_path, "check=true", "profile_dir=.", "export_root=out", "model.num_layers=4")
    assert "interleaved" in done.stdout
    assert "no cell has numbers: nothing was written to the database" in done.stderr
    assert (tmp_path / "out/checks/gpt-tiny/CPU.csv").exists()
    assert not (tmp_path / "out/sailor").exists()


def test_the_page_leaves_out_checks_of_another_configuration_and_says_so(tmp_path):
    record_files.write(records.measured(records.cell(*QUICK)), tmp_path)
    step = rank(full(1.0, 1.0, 1.0))
    mine, stranger = checked(tmp_path, step), checked(tmp_path, step, precision="bf16")
    record_files.write(mine, tmp_path)
    record_files.write(stranger, tmp_path)
    asked = gather_config(f"profile_dir={tmp_path}", "export_root=out")
    with pytest.warns(UserWarning, match="1 checks of another configuration were left out"):
        content = content_of(Inputs(asked))
    assert [cell.check_record for cell in content.checked] == [mine.file_name]


def test_a_check_made_before_the_profile_is_held_against_the_profile_of_today(tmp_path):
    made = checked(tmp_path, rank(full(1.0, 1.0, 1.0)))
    record_files.write(made, tmp_path)
    record_files.write(records.measured(records.cell(*QUICK)), tmp_path)
    asked = gather_config(f"profile_dir={tmp_path}", "export_root=out")
    (cell,) = checked_cells(asked)
    assert {row.source for row in cell.rows} == {"interleaved", "earlier"}
    assert shown_errors(page(content_of(Inputs(asked)))) == {
        ({"earlier": "earlier record"}.get(row.source, row.source), row.quantity.replace("_bytes", " memory")):
        pytest.approx(row.error)
        for row in cell.rows
    }  # fmt: skip
    assert as_csv([cell], 0.1).decode().count("\n") == 1 + 2 * 5


@pytest.mark.parametrize(
    ("asked", "differs"),
    [("model.num_layers=6", "model.num_layers=4"), ("precision=bf16", "precision=fp32")],
)
def test_a_check_of_another_shape_under_the_same_name_is_refused(tmp_path, asked, differs):
    record_files.write(records.measured(records.cell(*QUICK[:1], asked)), tmp_path)
    stranger = checked(tmp_path, rank(full(1.0, 1.0, 1.0)))
    record_files.write(stranger, tmp_path)
    done = gather(tmp_path, "check=true", "profile_dir=.", "export_root=out", asked)
    assert done.returncode == 1
    assert f"check=true: records/{stranger.file_name} was measured with {differs}; asked for is {asked}" in done.stderr
    assert not (tmp_path / "out/checks").exists()
    assert (tmp_path / "out/sailor/Planner/llm_info.json").exists(), "the database is written all the same"
