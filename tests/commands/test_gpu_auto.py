"""`gpu=auto` on whole command lines."""

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sailor_exp.command_line import CONF, GATHER, checked
from sailor_exp.config.schema import cell_from, register
from sailor_exp.errors import ConfigurationError
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records import files as record_files
from tests.build.cells import cell
from tests.build.commands import gather
from tests.build.fake_nvidia_smi import gpus, install

QUICK = ("sampling.warmup=2", "sampling.min_steps=8", "sampling.max_steps=8")


@pytest.fixture(autouse=True)
def _all_devices_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes this a machine with one GPU of the name and MiB."""

    def with_gpu(name: str, mib: int) -> None:
        directory = install(tmp_path / "bin", gpus((name, mib)))
        monkeypatch.setenv("PATH", str(directory), prepend=":")

    return with_gpu


def faults(*arguments: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        checked(arguments)
    return raised.value.faults


@pytest.mark.sweep
def test_a_cpu_measures_what_it_measures_by_name(launch, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    status, output = launch("gpu=auto", *QUICK)
    assert status == 0, output
    assert "gpu=auto is gpu=cpu: found no GPU that CUDA sees" in output
    ((_, made),) = record_files.read_all(tmp_path / "outputs/gpt-tiny/CPU", "layers", LayersMeasurement)
    assert made.identity == identity_of(cell("gpu=cpu", *QUICK))


def test_a_gpu_of_a_configured_kind_is_the_same_as_by_name(machine, capsys):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    assert checked(["gpu=auto", "vm=4", "mbs=2"]) == ["gpu=a100-40", "vm='4'", "mbs=2"]
    assert capsys.readouterr().err == "gpu=auto is gpu=a100-40: found NVIDIA A100-SXM4-40GB\n"


def test_a_kind_that_is_made_is_printed_and_the_same_once_it_is_kept(machine, capsys, tmp_path):
    machine("NVIDIA A30", 24576)
    assert checked(["-m", "gpu=auto"]) == ["-m", "gpu=a30-24"]
    said, _, printed = capsys.readouterr().err.partition("\n\n")
    assert said.startswith(
        "gpu=auto is gpu=a30-24: found NVIDIA A30\nTo keep this kind, write it to conf/gpu/a30-24.yaml"
    )
    made = cell("gpu=a30-24", "tp=2")
    assert (made.gpu.name, made.gpu.memory_gb, made.gpu.slurm_gres) == ("A30-24", 24, "gpu:2")
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf/gpu/kept.yaml").write_text(printed)
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        assert cell_from(compose("launch", ["gpu=kept", "tp=2"])) == made


def test_a_whole_sweep_with_a_made_kind_is_composed_by_hydra(machine, launch):
    machine("NVIDIA A30", 24576)
    status, output = launch("-m", "gpu=auto,a100-40", "tp=1,2", "action=status")
    assert status == 0, output
    assert output.count("│ A30-24 ") == output.count("│ A100-40 ") == 2


def test_gathering_takes_the_records_of_this_machines_gpu(machine, tmp_path):
    machine("NVIDIA A30", 24576)
    done = gather(tmp_path, "gpu=auto")
    assert done.returncode == 1
    assert "outputs/gpt-tiny/A30-24 holds neither records nor profile files of gpt-tiny on A30-24" in done.stderr


@pytest.mark.parametrize("written", ["gpu=auto,cpu", "gpu='auto',cpu", "gpu=choice(auto,cpu)"])
def test_auto_is_one_choice_among_others(machine, written):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    assert checked(["-m", written], GATHER) == ["-m", written.replace("'auto'", "auto").replace("auto", "a100-40")]


def test_what_only_contains_the_word_stays(machine):
    assert checked(["profile_dir=auto", "model.name=auto"]) == ["profile_dir=auto", "model.name=auto"]


def test_one_command_measures_on_one_kind_of_device(machine, launch):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    status, output = launch("-m", "gpu=auto,cpu")
    assert status == 2
    assert "a sweep measures one kind of device; this one has cpu and cuda: use two commands" in output


@pytest.mark.parametrize("action", ["launch", "status", "cancel"])
@pytest.mark.parametrize("launcher", ["slurm", "site-example"])
def test_jobs_are_refused_whatever_this_machine_has(machine, action, launcher):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    assert faults("-m", "gpu=auto", f"hydra/launcher={launcher}", f"action={action}") == (
        f"gpu=auto is the GPU of this machine, and hydra/launcher={launcher} measures on another: name the kind",
    )


def test_jobs_are_refused_where_the_launcher_is_in_a_directory_of_the_users(machine, tmp_path):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    (told,) = faults("-m", "--config-dir", str(tmp_path), "gpu=auto", "hydra/launcher=ours")
    assert "hydra/launcher=ours measures on another" in told


def test_the_launcher_of_this_machine_takes_it(machine):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    assert "gpu=a100-40" in checked(["-m", "gpu=auto", "hydra/launcher=local"])


def test_a_machine_that_gives_no_answer_is_told_with_all_other_faults(machine, tmp_path):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    install(tmp_path / "bin", "", err="no driver", status=9)
    assert faults("gpu=auto", "gpu.memory_gb=1", "tp=3") == (
        "gpu=auto: nvidia-smi failed with status 9 and said 'no driver'. Name the kind, or gpu=cpu.",
        "tp=3 does not divide the 4 GPUs of vm=4. Choose tp from 1, 2, 4.",
    )


@pytest.mark.parametrize("flag", [["--config-dir={}"], ["--config-dir", "{}"], ["-cd", "{}"]])
def test_kinds_of_the_user_count(machine, tmp_path, flag):
    machine("NVIDIA A30", 24576)
    (tmp_path / "gpu").mkdir()
    (tmp_path / "gpu/ours.yaml").write_text("name: Ours\ndevice: cuda\nbackend: nccl\ndevice_name: A30\n")
    assert "gpu=ours" in checked(["gpu=auto", *(word.format(tmp_path) for word in flag)])


def test_what_hydra_only_shows_has_the_kind_too(machine):
    machine("NVIDIA A100-SXM4-40GB", 40960)
    assert checked(["--cfg", "job", "gpu=auto"]) == ["--cfg", "job", "gpu=a100-40"]
