"""The run of `prove` on the emulated GPU: a few checks, small, and what becomes of those that cannot run."""

import json
import subprocess
import sys

import pytest

from sailor_exp.config.peaks import PEAKS
from tests.conftest import ROOT
from tests.emulated_cuda.commands import environment
from tests.gpu import by_command, checks, on_device, run
from tests.gpu.by_command import Commands
from tests.gpu.finding import CannotRunError, Finding, Verdict, ended
from tests.gpu.page import page
from tests.gpu.size import SMALL


def test_every_check_that_is_asked_for_exists_and_the_other_way_round():
    asked = {True: [], False: []}
    for check in checks.CHECKS:
        asked[check.on_device].append(check.name)
    assert sorted(asked[True]) == sorted(on_device.CHECKS)
    assert sorted(asked[False]) == sorted(function.__name__ for function in by_command.CHECKS)


@pytest.mark.sweep
def test_prove_runs_under_emulation_and_says_that_it_was_one(tmp_path):
    only = "device,cost_of_a_mark,nothing_waits_in_a_step,tf32_rate,clocks"
    command = [str(ROOT / "tests/gpu/prove"), "--size", "small", "--out", str(tmp_path), "--only", only]
    done = subprocess.run(
        [sys.executable, *command], env=environment(), capture_output=True, text=True, check=False, timeout=200
    )
    found = {row["name"]: row for row in json.loads((tmp_path / "findings.json").read_text())["checks"]}
    assert list(found) == only.split(","), done.stdout + done.stderr
    assert found["device"]["figure"].startswith(
        "NVIDIA H100 80GB HBM3, capability 9.0, 81079 MiB, driver None, CUDA 13.0"
    )
    assert (found["nothing_waits_in_a_step"]["verdict"], found["tf32_rate"]["verdict"]) == ("pass", "pass")
    assert found["clocks"]["verdict"] == "not run"
    assert "This was an emulation on a CPU." in (tmp_path / "gpu.md").read_text()


def commands(tmp_path, deadline=1e12):
    return Commands(kind="h100-80", size=SMALL, directory=tmp_path, deadline=deadline, environment={})


def test_a_process_that_dies_fails_its_check_and_the_others_run_in_a_new_one(tmp_path, monkeypatch):
    told = 'finding: {{"name": "{0}", "verdict": "pass", "figure": "1"}}'
    dying = "import sys; names = sys.argv[5:]; print(told.format(names[0])); sys.exit(int(len(names) > 1))"
    monkeypatch.setattr(run.sys, "executable", _script(tmp_path, f"told = {told!r}; {dying}"))
    findings = run.Findings(tmp_path, size="small")
    run._run([check for check in checks.CHECKS if check.on_device][:4], commands(tmp_path), findings)
    assert [row["verdict"] for row in findings.rows] == ["pass", "FAIL", "pass", "FAIL"]
    assert "ended with status 1" in findings.rows[1]["figure"]
    assert len(json.loads((tmp_path / "findings.json").read_text())["checks"]) == 4


def _script(tmp_path, program):
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\n{program}\n")
    path.chmod(0o755)
    return str(path)


def test_without_time_a_check_is_not_run_and_says_so(tmp_path):
    findings = run.Findings(tmp_path, size="small")
    run._run(checks.CHECKS, commands(tmp_path, deadline=0.0), findings)
    assert {row["verdict"] for row in findings.rows} == {"not run", "FAIL"}
    figures = {row["name"]: row["figure"] for row in findings.rows}
    assert figures["device"] == figures["forked_ranks"] == figures["llama"] == "no time is left"
    assert figures["below_the_peak"] == "the grid has no records"


def test_an_error_is_no_pass_and_a_check_that_cannot_run_says_why():
    assert ended(RuntimeError("CUDA error\nmore")) == Finding(verdict=Verdict.failed, figure="RuntimeError: CUDA error")
    assert ended(CannotRunError("no GPU")) == Finding(verdict=Verdict.not_run, figure="no GPU")


def test_the_page_of_a_real_run_does_not_speak_of_emulation():
    row = {"name": "a", "limit": "b", "source": "c", "seconds": 1.25, "verdict": "pass", "figure": "1 | 2"}
    told = {"started_at": "now", "seconds": 12.0, "size": "full", "commit": "abc", "emulated": False, "checks": [row]}
    text = page(told)
    assert "emulation" not in text
    assert "| a | b | 1 / 2 | pass | 1.2 | c |" in text
    assert "Run now, commit abc, size full, 12 s. pass: 1." in text


def test_the_peaks_of_prove_are_those_of_the_table():
    for gpu in ("H100-80", "H200-141"):
        rates = {precision: int(rate / 1e12) for precision, rate in PEAKS[gpu].flops_per_s.items()}
        assert rates == by_command._KNOWN_PEAK_TFLOPS
