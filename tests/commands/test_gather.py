"""gather.py as a user runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome
from tests.build.commands import ROOT, gather, start_gather
from tests.build.records import cell, changed, measured, unmeasured, write_grid
from tests.build.reference_data import lay_out

TINY = Path("outputs/gpt-tiny/CPU")
PROFILE = Path("outputs/export/sailor/Planner/sailor_planner/profiles/gpt-tiny/CPU/profile.json")
LLM_INFO = Path("outputs/export/sailor/Planner/llm_info.json")
SIMULATOR = Path("outputs/export/sailor/Planner/simulations/profiles_tmp.json")


def content(path: Path):
    return json.loads(path.read_text())


def test_a_whole_grid_is_gathered_and_the_coverage_printed(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1, 2), microbatches=(1, 2))
    done = gather(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "gpt-tiny on CPU, from outputs/gpt-tiny/CPU/",
        "      mbs=1  mbs=2",
        "tp=1  ok     ok",
        "tp=2  ok     ok",
        f"wrote {LLM_INFO}",
        f"wrote {PROFILE}",
        f"wrote {SIMULATOR}",
    ]
    assert list(content(tmp_path / PROFILE)) == ["1", "2"]


def test_cells_without_numbers_are_told_and_what_a_reader_lacks_is_named(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(2,), microbatches=(1, 2))
    for tp, mbs, outcome in ((1, 1, Outcome.failed), (1, 2, Outcome.oom), (1, 4, Outcome.skipped)):
        record_files.write(unmeasured(cell(tp=tp, mbs=mbs), outcome), tmp_path / TINY)
    done = gather(tmp_path)
    assert done.returncode == 1
    assert "      mbs=1   mbs=2  mbs=4\ntp=1  failed  oom    skipped\ntp=2  ok      ok     missing\n" in done.stdout
    assert "the simulator takes tp=1 mbs=1 (failed), tp=2 mbs=4 (missing) for 0 s" in done.stderr
    assert "llm_info.json has no tp=1, which Sailor's readers need" in done.stderr
    assert "python launch.py -m model=gpt-tiny gpu=cpu vm=4 tp=1,2 mbs=1,4" in done.stderr
    assert list(content(tmp_path / PROFILE)["2"]) == ["2"]


def test_out_of_memory_is_a_result_and_no_lack(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1, 2), microbatches=(1,))
    for tp, outcome in ((1, Outcome.skipped), (2, Outcome.oom)):
        record_files.write(unmeasured(cell(tp=tp, mbs=2), outcome), tmp_path / TINY)
    assert gather(tmp_path).returncode == 0


def test_a_grid_without_any_number_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    record_files.write(unmeasured(cell(), Outcome.oom), tmp_path / TINY)
    done = gather(tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "sailor of gpt-tiny on CPU: no cell has numbers: nothing was written to the database\n",
    )
    assert not (tmp_path / "outputs/export").exists()


def test_a_tp_without_microbatch_1_lacks_its_memory(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1,), microbatches=(1, 2))
    record_files.write(measured(cell(tp=2, mbs=2)), tmp_path / TINY)
    done = gather(tmp_path)
    assert done.returncode == 1
    assert "llm_info.json has no tp=2: it comes from mbs=1" in done.stderr


def test_a_record_of_another_shape_than_its_identity_says_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1, 2), microbatches=(1,))
    (record,) = (tmp_path / TINY / "records").glob("layers_*_tp2_*.json")
    of_another = content(record)
    of_another["measurement"]["memory"]["kinds"]["layer"]["params_floats"] = 198272
    record.write_text(json.dumps(of_another))
    done = gather(tmp_path)
    assert done.returncode == 1
    assert f"{record.name}: layer 1 has 198272 parameters on a rank of tp=2" in done.stderr
    assert "the configured model has 99520 (model.hidden_size=128" in done.stderr
    assert not (tmp_path / LLM_INFO).exists()


def test_values_of_llm_info_that_differ_are_told_with_both(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1,), microbatches=(1,))
    gather(tmp_path)
    there = content(tmp_path / LLM_INFO)
    there["gpt-tiny"]["1"]["0"]["params_floats"] = 11
    (tmp_path / LLM_INFO).write_text(json.dumps(there))
    done = gather(tmp_path)
    assert done.returncode == 0
    assert "llm_info.json changed: gpt-tiny tp=1, layer 0: params_floats was 11, is 540672" in done.stdout


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_cells_of_unknown_precision_beside_those_that_are_gathered_are_told(tmp_path: Path, precision: str) -> None:
    """As the published A100 profiles, whose head reaches 106 TFLOP/s where fp32 ends at 19.5."""
    a100 = ("gpu=a100-40", f"precision={precision}")
    write_grid(tmp_path / "published", "gpu=a100-40", tps=(1, 2), microbatches=(1,))
    assert "stayed in the database" not in gather(tmp_path, "gpu=a100-40", "profile_dir=published").stderr
    write_grid(tmp_path / "own", *a100, tps=(1,), microbatches=(1,))
    done = gather(tmp_path, *a100, "profile_dir=own")
    assert done.returncode == 0
    assert "warning: 1 cells that stayed in the database have no record here: precision and" in done.stderr
    assert "A100-40 may have multiplied in TF32, as in the published A100 data" in done.stderr
    assert f"asked for is precision={precision}" in done.stderr


def test_where_tf32_cannot_be_nothing_is_told_of_it(tmp_path: Path) -> None:
    write_grid(tmp_path / "one", "gpu=v100-16", tps=(1, 2), microbatches=(1,))
    write_grid(tmp_path / "other", "gpu=v100-16", tps=(1,), microbatches=(1,))
    for profile_dir in ("one", "other"):
        done = gather(tmp_path, "gpu=v100-16", f"profile_dir={profile_dir}")
        assert done.returncode == 0
        assert "stayed in the database" not in done.stderr
        assert "TF32" not in done.stderr


def broken_record(directory: Path, text: str) -> Path:
    """The record of tp=1 mbs=1 with other contents."""
    path = record_files.write(measured(cell()), directory)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: text[: len(text) // 2], "is not JSON, or was cut off"),
        (lambda _: "", "is empty"),
        (lambda text: text.replace("0.004", "NaN", 1), "holds what no record may: NaN is not a number"),
        (lambda text: text.replace('"version": 2', '"version": 3'), "has version 3; this code reads versions 1 to 2"),
        (lambda _: '{"timing": {}}', "is not a sailor-exp record"),
    ],
    ids=["truncated", "empty", "NaN", "unknown version", "foreign"],
)
def test_a_record_that_cannot_be_read_is_one_clear_message_and_stays(tmp_path: Path, change, fault: str) -> None:
    good = record_files.write(measured(cell()), tmp_path / TINY).read_text()
    path = broken_record(tmp_path / TINY, change(good))
    left = path.read_bytes()
    done = gather(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"sailor of gpt-tiny on CPU: {path.relative_to(tmp_path)}: ")
    assert fault in done.stderr
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == left
    assert not (tmp_path / PROFILE).exists()


def test_a_record_of_another_gpu_is_one_clear_message(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1,), microbatches=(1,))
    stray = record_files.write(measured(cell("gpu=a100-40", mbs=2)), tmp_path / TINY)
    done = gather(tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{stray.name} was measured with gpu.name=A100-40; asked for is gpu.name=CPU, which " in done.stderr
    assert not (tmp_path / PROFILE).exists()


def test_a_profile_of_34_layers_for_35_is_one_clear_message(tmp_path: Path) -> None:
    of_llama = measured(cell("model=llama-3-8"))
    layers = dict(of_llama.measured.layers)
    layers.popitem()
    record_files.write(changed(of_llama, layers=layers), tmp_path / "records-of-llama")
    done = gather(tmp_path, "model=llama-3-8", "profile_dir=records-of-llama")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "has 34 layer ids, none of the id 34; the configured model has 35, 0 to 34" in done.stderr


def test_a_directory_without_records_is_told_with_the_command_that_fills_it(tmp_path: Path) -> None:
    done = gather(tmp_path, "model=opt-350", "gpu=a100-40")
    assert done.returncode == 1
    assert "outputs/OPT-350/A100-40 holds neither records nor profile files of OPT-350 on A100-40" in done.stderr
    assert "python launch.py -m model=opt-350 gpu=a100-40" in done.stderr


@pytest.mark.parametrize("_repetition", range(3))
def test_gathers_at_once_end_with_the_results_of_all(tmp_path: Path, _repetition: int) -> None:
    write_grid(tmp_path / "tiny", tps=(1, 2), microbatches=(1, 2))
    write_grid(tmp_path / "opt", "model=opt-350", tps=(1, 2), microbatches=(1, 2))
    write_grid(tmp_path / "neo", "model=gpt-neo-2.7", tps=(1,), microbatches=(1,))
    running = [
        start_gather(tmp_path, f"profile_dir={directory}", *model, f"hydra.run.dir=hydra/{directory}")
        for directory, model in (("tiny", ()), ("opt", ("model=opt-350",)), ("neo", ("model=gpt-neo-2.7",)))
    ]
    for process in running:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    assert set(content(tmp_path / SIMULATOR)) == {"gpt-tiny", "OPT-350", "GPT-Neo-2.7"}
    assert set(content(tmp_path / LLM_INFO)) == {"gpt-tiny", "OPT-350", "GPT-Neo-2.7"}


def test_all_exporters_run_for_every_vm_in_one_command(tmp_path: Path) -> None:
    overrides = lay_out(tmp_path)
    done = gather(tmp_path, "-m", *overrides, "exporter=amp,piper,metis,varuna,galvatron,oobleck", "vm=1,2,4")
    assert done.returncode == 0, done.stderr
    baselines = tmp_path / "export/sailor/Planner/baselines"
    made = {path.parts[-5] + "/" + path.name for path in baselines.rglob("OPT-350/A100-40/*")}
    assert made == {
        *(f"AMP/profile_{tp}.npy" for tp in (1, 2, 4)),
        "Piper/profile.json",
        *(f"Metis/mbs{mbs}_tmp{tp}.json" for mbs in (1, 2, 4, 8) for tp in (1, 2, 4)),
        *(f"{planner}/profile_{vm}.json" for planner in ("Varuna", "Oobleck") for vm in (1, 2, 4)),
        "Galvatron/compute_profile.json",
        "Galvatron/memory_profile.json",
        "Galvatron/hw_prof.json",
    }
    assert "hw_prof.json has one place for every VM: it now holds vm=4, no longer vm=2" in done.stderr


def test_what_one_exporter_lacks_does_not_stop_the_others(tmp_path: Path) -> None:
    overrides = lay_out(tmp_path)
    extra = tmp_path / "profiles/varuna_profile_OPT-350_A100-40.json"
    extra.unlink()
    done = gather(tmp_path, "-m", *overrides, "exporter=varuna,amp")
    assert done.returncode == 1
    assert f"{extra}: the varuna profile is not there" in done.stderr
    assert (
        "`python launch.py -m profile=varuna model=opt-350 gpu=a100-40 vm=4 tp=4 mbs=1,2,4,8` makes it" in done.stderr
    )
    assert "exporter.extra_file=... names another file" in done.stderr
    assert (tmp_path / "export/sailor/Planner/baselines/AMP/profiles/OPT-350/A100-40/profile_4.npy").exists()


@pytest.mark.parametrize(
    ("exporter", "file", "key", "profile"),
    [
        ("galvatron", "profiles/memory_profile.json", "extra_file", "galvatron"),
        ("galvatron", "export/sailor/providers/network_coeffs_all_homo.json", "network_file", "network"),
        ("galvatron", "export/sailor/Planner/baselines/Galvatron/overlap_coe_dicts.json", "overlap_file", "overlap"),
        ("oobleck", "profiles/oobleck_profile_OPT-350_A100-40.json", "extra_file", "oobleck"),
        ("oobleck", "export/sailor/providers/network_coeffs_all_homo.json", "network_file", "network"),
    ],
)
def test_an_extra_file_can_stand_elsewhere_and_is_told_where_it_is_not(
    tmp_path: Path, exporter: str, file: str, key: str, profile: str
) -> None:
    overrides = (*lay_out(tmp_path), f"exporter={exporter}")
    elsewhere = (tmp_path / file).rename(tmp_path / "elsewhere.json")
    without = gather(tmp_path, *overrides)
    assert without.returncode == 1
    assert re.search(rf"python launch\.py (-m )?profile={profile} ", without.stderr)
    assert f"exporter.{key}=" in without.stderr
    assert gather(tmp_path, *overrides, f"exporter.{key}={elsewhere}").returncode == 0


def test_a_file_that_a_planner_does_not_read_is_warned_of(tmp_path: Path) -> None:
    done = gather(tmp_path, *lay_out(tmp_path), "exporter=amp", "exporter.network_file=other.json")
    assert (done.returncode, done.stderr) == (0, "warning: exporter=amp does not read exporter.network_file\n")


@pytest.mark.parametrize("key", ["infinite_tps=[8]", "zone=us-west1-b", "new_zone=true", "max_nodes=5"])
def test_every_key_that_an_exporter_does_not_read_is_warned_of(tmp_path: Path, key: str) -> None:
    done = gather(tmp_path, *lay_out(tmp_path), "exporter=piper", f"exporter.{key}")
    name = key.partition("=")[0]
    assert (done.returncode, done.stderr) == (0, f"warning: exporter=piper does not read exporter.{name}\n")


def test_a_key_is_warned_of_once_where_no_exporter_reads_it(tmp_path: Path) -> None:
    done = gather(tmp_path, "-m", *lay_out(tmp_path), "exporter=amp,piper", "exporter.max_nodes=5")
    assert (done.returncode, done.stderr) == (0, "warning: exporter=amp,piper does not read exporter.max_nodes\n")
    done = gather(tmp_path, "-m", *lay_out(tmp_path), "exporter=amp,galvatron", "exporter.max_nodes=5")
    assert (done.returncode, "does not read" in done.stderr) == (0, False)


def test_every_export_refuses_a_root_that_is_beside_a_checkout(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1,), microbatches=(1,))
    constants = tmp_path / "above/sailor/sailor/Planner/simulations/constants.py"
    constants.parent.mkdir(parents=True)
    constants.write_text("GPU_PRICES = {}\nGPU_MEMORY_GB = {}\n")
    done = gather(tmp_path, "-m", "exporter=sailor,amp,network,csv", "report=true", "export_root=above")
    assert done.returncode == 1
    assert done.stderr.count("above is the directory above a checkout, above/sailor; nothing was written") == 4
    assert [path for path in (tmp_path / "above").rglob("*") if path.is_file()] == [constants]


def test_a_database_that_was_never_gathered_is_told_with_the_command_that_gathers(tmp_path: Path) -> None:
    done = gather(tmp_path, "exporter=amp")
    assert done.returncode == 1
    assert f"{PROFILE}: the gathered profile is not there" in done.stderr
    assert "`python gather.py model=gpt-tiny gpu=cpu` makes it" in done.stderr


def test_faults_of_the_command_line_are_told_all_at_once_and_nothing_is_started(tmp_path: Path) -> None:
    done = gather(tmp_path, "exporter=amq", "vm=3", "model.num_layers=0", "exprt_root=x")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "4 faults in the configuration; nothing was started:"
    assert "there is no exporter amq. Choose from amp, csv, galvatron, metis, network, oobleck, parquet" in done.stderr
    assert "there is no vm '3'. Choose from 1, 2, 4, 8" in done.stderr
    assert "model.num_layers=0 must be at least 1" in done.stderr
    assert "there is no key exprt_root. Did you mean export_root?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_exporter_of_a_users_own_directory_that_has_no_code_is_named(tmp_path):
    mine = tmp_path / "mine/exporter"
    mine.mkdir(parents=True)
    (mine / "mine.yaml").write_text("name: mine\n")
    done = gather(tmp_path, "--config-dir", str(tmp_path / "mine"), "exporter=mine")
    assert done.returncode == 2
    assert "exporter.name=mine is no exporter of sailor_exp/exporters/. Choose from amp, csv, galvatron" in done.stderr


def test_neither_gathering_nor_exporting_imports_torch(tmp_path: Path) -> None:
    overrides = lay_out(tmp_path)
    write_grid(tmp_path / TINY, tps=(1,), microbatches=(1,))
    code = (
        "import sys; from sailor_exp.gathering import main; status = main(sys.argv[1:])\n"
        "heavy = {'torch', 'deepspeed', 'megatron', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(status)"
    )
    exporters = "exporter=amp,piper,metis,varuna,galvatron,oobleck"
    for arguments in ((), ("exporter=csv",), ("-m", *overrides, exporters)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            check=False,
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


def test_exporting_reads_no_records(tmp_path: Path) -> None:
    write_grid(tmp_path / TINY, tps=(1, 2, 4), microbatches=(1, 2))
    assert gather(tmp_path).returncode == 0
    for path in (tmp_path / TINY / "records").iterdir():
        path.write_text("damaged")
    done = gather(tmp_path, "-m", "exporter=amp,piper,metis", "vm=4")
    assert done.returncode == 0, done.stderr


def test_gathering_warns_of_times_that_the_gpu_cannot_have_taken(tmp_path: Path) -> None:
    opt = ("model=opt-350", "gpu=a100-40")
    write_grid(tmp_path / "outputs/OPT-350/A100-40", *opt, tps=(1,), microbatches=(1,))
    done = gather(tmp_path, *opt)
    assert done.returncode == 0, "a time that is not plausible is told, and gathered"
    assert "warning: Times of 1 cell are shorter than A100-40 can take in fp32:" in done.stderr
    assert "head forward: 105 TFLOP/s, where the data sheet has 19.5, and 156 with TF32 (tp=1 mbs=1)" in done.stderr
    assert "Times of 1 cell are more than 10 times what arithmetic and memory of A100-40 need" in done.stderr
