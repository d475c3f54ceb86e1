"""The report says what the records say, and what to do about it."""

import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from sailor_exp.profiles.check.comparison import COMPARED
from sailor_exp.profiles.layers import profile_file
from sailor_exp.records import files as record_files
from sailor_exp.records.provenance import ClockReading, DeviceFacts, LoadReadings
from sailor_exp.records.record import Outcome, Record
from sailor_exp.report.drawing.scales import linear_scale, log_scale, spread_out
from tests.build.commands import gather
from tests.build.records import FORWARD_S, KEPT, cell, measured, unmeasured, write_grid
from tests.build.report_pages import computed, computed_over_all, contents, numbers, parsed, prediction, report

TINY = Path("outputs/gpt-tiny/CPU")
REPORT = Path("outputs/export/reports/gpt-tiny/CPU.html")
UNITS = {"s": 1, "ms": 1e-3, "us": 1e-6, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "%": 1e-2, "": 1}
PREDICTIONS = tuple(prediction(quantity, tp=tp) for tp in (1, 2) for quantity in COMPARED)


def uneven(tp: int, mbs: int, *overrides: str) -> Record:
    """A record whose numbers are like no other cell's."""
    factor = 1 + 0.01 * tp + 0.001 * mbs
    return measured(cell(*overrides, tp=tp, mbs=mbs), forward_s={kind: s * factor for kind, s in FORWARD_S.items()})


def changed(of: Record, part: str, **fields) -> Record:
    """A record with other fields in a part of it, or of its measurement."""
    whole = of if part in Record.model_fields else of.measured
    other = whole.model_copy(update={part: getattr(whole, part).model_copy(update=fields)})
    return other if whole is of else of.model_copy(update={"measurement": other})


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two tensor parallel degrees; tp 1 ran out of memory at the largest microbatch."""
    for tp, mbs in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 4)):
        record_files.write(uneven(tp, mbs), tmp_path)
    record_files.write(unmeasured(cell(tp=1, mbs=4), Outcome.oom), tmp_path)
    return tmp_path


def test_every_number_of_the_report_is_what_its_formula_gives_on_the_records(sweep: Path) -> None:
    told = contents(sweep)
    rows = {f"prediction-{index}": asdict(cell.rows[0]) for index, cell in enumerate(PREDICTIONS)}
    seen = 0
    for number in numbers(parsed(report(sweep, checked=PREDICTIONS))):
        if number.of == "predictions":
            continue
        if number.of == "all":
            assert number.value == pytest.approx(computed_over_all(number.formula, told))
            continue
        of, base = {**told, **rows}[number.of], told.get(number.base)
        assert number.value == pytest.approx(computed(number.formula, of, base), rel=1e-8), number
        if number.interval is not None:
            assert number.interval == pytest.approx(computed(number.interval_formula, of, base), rel=1e-8), number
        seen += 1
    assert seen > 300


def test_what_is_read_is_the_number_that_the_element_carries(sweep: Path) -> None:
    for number in numbers(parsed(report(sweep, checked=PREDICTIONS))):
        text = re.sub(r".*: ", "", number.text)  # of a mark, what it tells when it is pointed at
        shown = re.match(r"[±+]?(-?[\d,]+(?:\.(\d+))?) ?(s|ms|us|B|KiB|MiB|GiB|%|)(?= |$)", text)
        rounding = 0.5 * 10 ** -len(shown[2] or "") * UNITS[shown[3]]
        assert float(shown[1].replace(",", "")) * UNITS[shown[3]] == pytest.approx(number.value, abs=1.01 * rounding)
        told = re.search(r"±([\d.]+) %$", text)
        if number.interval is not None:
            assert float(told[1]) / 100 == pytest.approx(number.interval, abs=0.005)


def test_no_table_shows_a_number_that_does_not_say_where_it_is_from(sweep: Path) -> None:
    root = parsed(report(sweep, checked=PREDICTIONS))
    tables = [table for table in root.iter("table") if "left" not in table.get("class")]
    assert len(tables) == 6
    for table in tables:
        for td in table.iter("td"):
            if any(character.isdigit() for character in "".join(td.itertext())):
                assert "data-value" in td.attrib or "data-value" in td.find("a").attrib


def test_a_column_shows_what_its_head_says(sweep: Path) -> None:
    heads = [th for th in parsed(report(sweep)).iter("th") if "data-formula" in th.attrib]
    formulas = {th.text: th.attrib["data-formula"] for th in heads}
    for words, kind in (("embedding", "embedding"), ("transformer layer", "layer"), ("head and loss", "head")):
        for phase in ("forward", "backward", "update", "overhead"):
            expected = f"statistics.kinds.{kind}.{phase}.value_s"
            if phase in {"forward", "backward"} and kind == "layer":  # the last table with this head is that of ratios
                expected = f"base:identity.tp * base:{expected} / (identity.tp * {expected})"
            assert formulas[f"{words}, {phase}"] == expected
    assert formulas["step of the chain, per sample"] == "(statistics.step.value_s) / identity.mbs"
    assert formulas["measured peak"] == "memory.peak_bytes"


def test_the_whole_model_counts_every_part_as_often_as_the_model_has_it(sweep: Path) -> None:
    """gpt-tiny has four layers; Adam in fp32 keeps a gradient of four bytes and two moments of four each."""
    tables = parsed(report(sweep)).findall(".//section[@id='memory']/details")
    rows = tables[1].findall(".//tbody/tr")
    told = {row.attrib["data-of"]: [float(td.attrib["data-value"]) for td in row.findall("td")] for row in rows}
    of_tp_1, of_tp_2 = 540672 + 4 * 198272 + 524544, 278528 + 4 * 99520 + 262400
    kept = [4 * KEPT["embedding"], 4 * 4 * KEPT["layer"], 4 * KEPT["head"]]
    assert told["tp1-mbs1"] == [4 * of_tp_1, 4 * of_tp_1, 8 * of_tp_1, *kept]
    assert told["tp2-mbs4"] == [4 * of_tp_2, 4 * of_tp_2, 8 * of_tp_2, *(2 * count for count in kept)]


def test_sgd_keeps_no_states_and_bf16_a_master_copy(tmp_path: Path) -> None:
    for directory, asked, states in (("sgd", "optimizer=sgd", None), ("bf16", "precision=bf16", 12)):
        record_files.write(measured(cell(asked)), tmp_path / directory)
        section = parsed(report(tmp_path / directory, asked)).find(".//section[@id='memory']")
        formulas = {th.text: th.get("data-formula") for th in section.iter("th")}
        found = formulas.get("optimizer states")
        assert found is None if states is None else found.startswith(f"{states} * memory.kinds.embedding.params_floats")


def ticks(svg: ET.Element) -> list[tuple[float, float]]:
    """Lowest and highest value that the vertical axis of a chart is marked with, each with its place."""
    found = [text for text in svg.findall("text") if text.get("class") == "tick end"]
    values = [(text.text.partition(" "), float(text.attrib["y"]) - 3.5) for text in found]
    marked = sorted((float(number) * UNITS[unit], place) for (number, _, unit), place in values)
    return [marked[0], marked[-1]]


def test_marks_stand_where_their_numbers_are_on_the_logarithmic_axis(sweep: Path) -> None:
    charts = [svg for svg in parsed(report(sweep)).iter("svg") if "value_s" in svg.get("data-formula", "")]
    times = [svg for svg in charts if "base:" not in svg.attrib["data-formula"]]
    assert len(times) == 2 + 3 * 3
    for svg in times:
        (low, bottom), (high, top) = ticks(svg)
        marks = [
            (float(group.attrib["data-value"]), circle) for group in svg.iter("g") for circle in group.findall("circle")
        ]
        assert len(marks) == 2  # of tp 1; other degrees have other marks
        for value, circle in marks:
            place = bottom + math.log(value / low) / math.log(high / low) * (top - bottom)
            assert float(circle.attrib["cy"]) == pytest.approx(place, abs=0.2)


def test_whiskers_reach_both_ends_of_the_interval(tmp_path: Path) -> None:
    of = measured(cell())
    step = of.measured.statistics.step.model_copy(update={"relative_half_width": 1.5})
    record_files.write(changed(of, "statistics", step=step), tmp_path)
    svg = next(
        svg for svg in parsed(report(tmp_path)).iter("svg") if svg.get("data-formula") == "statistics.step.value_s"
    )
    (low, bottom), (high, top) = ticks(svg)
    start, stop = re.match(r"M\S+ (\S+)V([\d.]+)", svg.find(".//path[@class='whisker']").attrib["d"]).groups()
    for place, end in ((start, 0.1), (stop, 2.5)):
        value = low * math.exp((float(place) - bottom) / (top - bottom) * math.log(high / low))
        assert value == pytest.approx(end * step.value_s, rel=0.01)


def test_bars_stand_on_each_other_and_are_as_high_as_their_bytes(sweep: Path) -> None:
    stacks = [svg for svg in parsed(report(sweep)).iter("svg") if svg.find("g/rect[@data-value]") is not None]
    assert len(stacks) == 4
    for svg in stacks:
        (_, bottom), (high, top) = ticks(svg)
        reached: dict[str, float] = {}
        for rect in svg.findall("g/rect[@data-value]"):
            of, height = rect.attrib["data-of"], float(rect.attrib["height"])
            assert height == pytest.approx(float(rect.attrib["data-value"]) / high * (bottom - top), abs=0.2)
            assert float(rect.attrib["y"]) + height == pytest.approx(reached.get(of, bottom), abs=0.2)
            reached[of] = float(rect.attrib["y"])


def test_scaling_efficiency_compares_with_the_fewest_ranks_that_have_numbers(tmp_path: Path) -> None:
    for tp, mbs in ((1, 1), (2, 1), (2, 2), (4, 2)):
        record_files.write(uneven(tp, mbs), tmp_path)
    page = report(tmp_path)
    ratios = {(one.of, one.base) for one in numbers(parsed(page)) if one.base}
    assert ratios == {("tp2-mbs1", "tp1-mbs1"), ("tp4-mbs2", "tp2-mbs2")}
    assert "Compared with tp 1 and tp 2 at mbs 2." in page.decode()


def test_names_and_messages_are_text_whatever_they_hold(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>&\"'"
    asked = "model.name='<img src=x onerror=alert(1)>&\"\\''"
    odd = changed(measured(cell(asked)), "provenance", host="<script>alert(2)</script>\x07")
    record_files.write(odd, tmp_path)
    html = report(tmp_path, asked)
    root = parsed(html)
    assert not {element.tag for element in root.iter()} & {"img", "script"}
    assert root.find("body/header/h1/span").text == name
    assert "<script>alert(2)</script>\N{REPLACEMENT CHARACTER}" in "".join(root.itertext())


def test_the_page_refers_to_nothing_outside_itself(sweep: Path) -> None:
    root = parsed(report(sweep, checked=PREDICTIONS))
    ids = {element.get("id") for element in root.iter()}
    for element in root.iter():
        assert element.tag not in {"script", "link", "iframe", "img", "object", "embed", "image", "use"}
        assert not {"src", "style", "onclick"} & set(element.attrib)
        if "href" in element.attrib:
            assert element.attrib["href"].removeprefix("#") in ids
    assert not re.search(r"url\(|@import", root.find("head/style").text)


def test_provenance_names_all_that_the_records_say_of_where_they_were_made(sweep: Path) -> None:
    section = parsed(report(sweep)).find(".//section[@id='provenance']")
    text = "".join(section.itertext())
    for told in contents(sweep).values():
        facts = told["provenance"]
        for value in (facts["host"], facts["cpu"], facts["commit"], *facts["versions"].values()):
            assert value in text
    files = {path.name for path in (sweep / "records").glob("*.json")}
    assert {td.text for td in section.iter("td")} >= files


def test_the_head_of_the_page_counts_the_grid_and_its_largest_cell(sweep: Path) -> None:
    record_files.write(changed(uneven(2, 1), "memory", peak_bytes=2 * 2**30), sweep)
    tiles = [" ".join("".join(tile.itertext()).split()) for tile in parsed(report(sweep)).findall("body/div/div")]
    assert tiles == [
        "Cells with numbers5of 6 in the grid",
        "Converged5of 5, to ±3.0 %",
        "Steps timed20after the warm-up",
        "Interval of a step±1.0 %95 %, median over the cells",
        "Highest peak of a rank2.00 GiB25 % of 8.00 GiB",
    ]


def test_the_same_records_give_the_same_page(sweep: Path) -> None:
    assert report(sweep) == report(sweep)


def test_a_hundred_cells_stay_below_a_megabyte(tmp_path: Path) -> None:
    of = measured(cell("model=gpt-neo-2.7"), forward_s={kind: s * math.pi for kind, s in FORWARD_S.items()})
    for tp in (1, 2, 4):
        for mbs in range(1, 35):
            record_files.write(changed(of, "identity", tp=tp, mbs=mbs), tmp_path)
    assert 500_000 < len(report(tmp_path, "model=gpt-neo-2.7")) < 1_000_000


def test_a_grid_without_any_number_is_shown_with_how_its_cells_ended(tmp_path: Path) -> None:
    record_files.write(unmeasured(cell(), Outcome.oom), tmp_path)
    root = parsed(report(tmp_path))
    assert [section.get("id") for section in root.iter("section")] == ["grid", "care", "provenance"]
    assert "oom" in "".join(root.find(".//table").itertext())


def test_what_was_not_checked_is_named_with_the_command_that_checks_it(sweep: Path) -> None:
    text = "".join(parsed(report(sweep)).find(".//section[@id='accuracy']").itertext())
    assert "was not measured" in text
    assert re.search(r"python launch\.py -m .*tp=1,2 mbs=1,2,4 .*profile=check", text)


def test_predictions_beyond_the_limit_are_told(sweep: Path) -> None:
    rows = (prediction("total", error=0.03), prediction("total", tp=2, error=-0.08))
    care = "".join(parsed(report(sweep, checked=rows, error_limit=0.05)).find(".//section[@id='care']").itertext())
    assert "more than 5.0\N{NO-BREAK SPACE}% off in 1 cell: tp=2 mbs=1" in care
    assert "tp=2 mbs=1, total: -8.0%" in care


def test_times_that_the_gpu_cannot_have_taken_are_told(tmp_path: Path) -> None:
    opt = ("model=opt-350", "gpu=a100-40")
    record_files.write(measured(cell(*opt)), tmp_path)
    care = "".join(parsed(report(tmp_path, *opt)).find(".//section[@id='care']").itertext())
    assert "Times of 1 cell are shorter than A100-40 can take in fp32" in care
    assert "head forward: 105 TFLOP/s, where the data sheet has 19.5, and 156 with TF32 (tp=1 mbs=1)" in care
    assert "embedding update: 3 TB/s, where the memory has 1.555" in care
    assert "more than 10 times what arithmetic and memory of A100-40 need" in care
    assert "embedding forward: 185 times" in care
    assert re.search(r"python launch\.py -m model=opt-350 gpu=a100-40 vm=4 tp=1 mbs=1 \S+ force=true", care)


def unconverged() -> Record:
    return changed(measured(cell(tp=2), steps=100), "statistics", converged=False, relative_half_width=0.06)


def with_load(*queued: tuple[int | None, list[str]], end: tuple[str, ...] = ("gpu_idle",)) -> Record:
    """A record of tp 2 on an A100 that idled at 210 MHz before; clocks and reasons under load, and at the end."""
    readings = [ClockReading(sm_mhz=mhz, memory_mhz=None, reasons=reasons) for mhz, reasons in queued]
    device = DeviceFacts(
        name="A100",
        uuid=None,
        driver=None,
        memory_bytes=None,
        clock_mhz={"sm": 210, "sm_max": 1410},
        load=LoadReadings(
            sm_max_mhz=1410, queued=readings, end=ClockReading(sm_mhz=210, memory_mhz=None, reasons=list(end))
        )
        if queued
        else None,
    )
    return changed(measured(cell(tp=2)), "provenance", devices=[device])


def launch_bound() -> Record:
    """The forward of the head takes 1 ms at tp 2, and so does its launch."""
    of = measured(cell(tp=2))
    kinds = dict(of.measured.statistics.kinds)
    forward = kinds["head"].forward.model_copy(update={"launch_s": 0.001, "launch_bound": True})
    backward = kinds["head"].backward.model_copy(update={"launch_s": 0.0001, "launch_bound": False})
    kinds["head"] = kinds["head"].model_copy(update={"forward": forward, "backward": backward})
    return changed(of, "statistics", kinds=kinds)


def skewed() -> Record:
    of = measured(cell(tp=2))
    step = of.measured.statistics.step
    return changed(of, "statistics", step=step.model_copy(update={"skew_s": step.value_s / 4}))


@pytest.mark.parametrize(
    "record",
    [
        with_load(),
        with_load((1400, ["sw_power_cap"])),
        with_load((210, ["gpu_idle"]), (345, ["gpu_idle"])),
        with_load((None, [])),
    ],
    ids=["idle clocks of an older record", "a power cap that costs nothing", "idle", "no clocks"],
)
def test_a_gpu_that_was_not_slowed_under_load_is_not_named(tmp_path: Path, record: Record) -> None:
    record_files.write(measured(cell()), tmp_path / TINY)
    record_files.write(record, tmp_path / TINY)
    assert "clocked below" not in report(tmp_path / TINY).decode()


@pytest.mark.parametrize(
    ("second", "said", "remedy"),
    [
        (unconverged(), "1 cell did not converge: tp=2 mbs=1", "sampling.max_steps=400"),
        (
            unconverged(),
            "tp=2 mbs=1: ±6.0\N{NO-BREAK SPACE}% for the calibrated step after 100 steps, target ±3.0",
            "sampling.budget_s=60",
        ),
        (
            changed(unconverged(), "statistics", calibrated=False),
            "tp=2 mbs=1: ±6.0\N{NO-BREAK SPACE}% for the step after 100 steps",
            "sampling.budget_s=60",
        ),
        (
            launch_bound(),
            "Launches bind the time of some parts in 1 cell: tp=2 mbs=1",
            "tp=2 mbs=1: head forward 990 us, launched in 1.00 ms",
        ),
        (unmeasured(cell(tp=2), Outcome.failed), "1 cell ended as failed: tp=2 mbs=1", "vm=4 tp=2 mbs=1"),
        (unmeasured(cell(tp=2), Outcome.timeout), "1 cell ended as timeout: tp=2 mbs=1", "stall_s="),
        (measured(cell(tp=2, mbs=2)), "2 cells were not measured: tp=1 mbs=2, tp=2 mbs=1", "vm=4 tp=1,2 mbs=1,2"),
        (measured(cell(tp=2), torch="2.8.0"), "different torch: 2.9.0 (1 records), 2.8.0 (1 records)", "force=true"),
        (changed(measured(cell(tp=2)), "provenance", dirty=True), "changes that no commit holds", "Commit the changes"),
        (changed(measured(cell(tp=2)), "provenance", commit=None), "different commit", "force=true"),
        (changed(measured(cell(tp=2)), "provenance", host="other"), "on 2 machines", "measure them on one"),
        (
            changed(measured(cell(tp=2)), "provenance", slurm={"other_jobs_on_node": "3"}),
            "Other jobs ran on the node of 1 cell: tp=2 mbs=1",
            "hydra.launcher.exclusive=true",
        ),
        (
            changed(measured(cell(tp=2)), "identity", method=0),
            "1 records of an older method of measuring were left out",
            "Measure those cells again",
        ),
        (
            with_load((900, ["sw_power_cap"]), (920, ["sw_power_cap"]), (940, [])),
            "tp=2 mbs=1, rank 0: 920 MHz of 1410 MHz, sw_power_cap (A100)",
            "Training meets a power cap",
        ),
        (
            with_load((1410, ["gpu_idle"]), (1000, [])),
            "rank 0: 1000 MHz of 1410 MHz, for no reason that the driver gives",
            "force=true",
        ),
        (
            with_load((1400, []), end=("hw_thermal_slowdown",)),
            "throttled in 1 cell",
            "rank 0: 1400 MHz of 1410 MHz, hw_thermal_slowdown (A100)",
        ),
        (skewed(), "One rank is slower than the others in 1 cell: tp=2 mbs=1", "force=true"),
        (unmeasured(cell(tp=2), Outcome.oom), "1 cell ran out of memory: tp=2 mbs=1", "planners leave such cells out"),
        (changed(measured(cell(tp=2)), "memory", peak_bytes=2**33), "filled more than", "upper bounds"),
        (
            changed(measured(cell(tp=2), steps=100), "memory", alloc_retries=3),
            "freed its cache in 1 cell: tp=2 mbs=1tp=2 mbs=1: 3 times in 100 steps",
            "upper bounds",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_limits_the_numbers_is_told_with_what_to_do(
    tmp_path: Path, second: Record, said: str, remedy: str
) -> None:
    record_files.write(measured(cell()), tmp_path)
    record_files.write(second, tmp_path)
    care = "".join(parsed(report(tmp_path)).find(".//section[@id='care']").itertext())
    assert said in care
    assert remedy in care


def test_cells_from_files_of_another_tool_are_marked_and_not_drawn(tmp_path: Path) -> None:
    record_files.write(measured(cell()), tmp_path)
    published = profile_file.content(measured(cell(tp=2)))
    del published["record"]
    (tmp_path / "profile_gpt-tiny_CPU_2_1.json").write_text(json.dumps(published))
    root = parsed(report(tmp_path))
    assert "ok*" in "".join(root.find(".//table[@class='grid']").itertext())
    assert {number.of for number in numbers(root)} == {"tp1-mbs1", "all"}
    assert "1 cells come from profile files" in "".join(root.find(".//section[@id='care']").itertext())


def test_a_larger_microbatch_that_took_less_time_is_told(tmp_path: Path) -> None:
    record_files.write(measured(cell(mbs=1)), tmp_path)
    record_files.write(measured(cell(mbs=2), forward_s={kind: s / 4 for kind, s in FORWARD_S.items()}), tmp_path)
    assert b"took less time than a smaller one: tp=1 mbs=1, tp=1 mbs=2" in report(tmp_path)


def test_a_sweep_without_a_fault_has_nothing_to_be_careful_with(tmp_path: Path) -> None:
    write_grid(tmp_path, tps=(1, 2), microbatches=(1, 2))
    assert b"Nothing to be careful with" in report(tmp_path)


def test_the_report_is_written_beside_any_export_and_once(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1, 2), microbatches=(1, 2))
    done = gather(tmp_path, "-m", "exporter=sailor,piper", "report=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(f"report: {REPORT}\n") == 1
    told = contents(tmp_path / TINY)
    assert {number.of for number in numbers(parsed((tmp_path / REPORT).read_bytes()))} == {*told, "all"}


def test_a_grid_that_cannot_be_exported_is_reported_all_the_same(tmp_path: Path) -> None:
    record_files.write(unmeasured(cell(), Outcome.failed), tmp_path / TINY)
    done = gather(tmp_path, "report=true")
    assert done.returncode == 1
    assert b"1 cell ended as failed" in (tmp_path / REPORT).read_bytes()


def test_a_report_of_nothing_names_the_command_that_measures_and_writes_nothing(tmp_path: Path) -> None:
    done = gather(tmp_path, "report=true")
    assert done.returncode == 1
    assert done.stderr.count("python launch.py -m model=gpt-tiny gpu=cpu") == 1
    assert not (tmp_path / "outputs/export").exists()


def test_a_report_that_is_neither_true_nor_false_is_a_fault(tmp_path: Path) -> None:
    done = gather(tmp_path, "report=perhaps")
    assert done.returncode == 2
    assert "report" in done.stderr


def test_logarithmic_axes_hold_their_values_between_round_ends() -> None:
    scale = log_scale([0.0021, 0.19], start=100, stop=0)
    assert (scale.low, scale.high) == (0.002, 0.2)
    assert scale.ticks == pytest.approx([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2])
    assert (scale.at(0.002), scale.at(0.02), scale.at(0.2)) == pytest.approx((100, 50, 0))


def test_axes_of_bytes_have_ticks_at_powers_of_two() -> None:
    assert linear_scale(40 * 2**20, start=1, stop=0, base=2).ticks == [n * 2.0**24 for n in range(4)]


def test_labels_that_would_overlap_move_apart_in_their_order() -> None:
    assert spread_out([50, 51, 200], gap=10, lowest=0, highest=205) == [50, 60, 200]
    assert spread_out([100, 99, 98], gap=10, lowest=0, highest=100) == [100, 90, 80]
