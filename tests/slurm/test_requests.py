"""What a cell asks SLURM for, and what is refused before anything is submitted: no cluster needed."""

import errno

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sailor_exp.command_line import CONF
from sailor_exp.config.schema import register
from sailor_exp.errors import ConfigurationError, StorageError
from sailor_exp.slurm.options import SlurmOptions, cell_faults, gpus_asked, options_from, sweep_faults
from sailor_exp.slurm.request import Request
from sailor_exp.slurm.submission import Job, arrays, refusal, submit
from tests.build.cells import cell


def jobs(count: int, **options: object) -> list[Job]:
    request = Request.of(SlurmOptions(**options))
    return [Job(cells=(place,), request=request) for place in range(count)]


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        ({}, None),
        ({"gres": "gpu:2"}, 2),
        ({"gres": "gpu:a100:4"}, 4),
        ({"gres": "gpu"}, 1),
        ({"gres": "gpu:a100"}, 1),
        ({"gres": "nvme:1,gpu:v100:2"}, 2),
        ({"gres": "nvme:1"}, None),
        ({"gpus_per_node": "4"}, 4),
        ({"gpus_per_node": "a100:2"}, 2),
    ],
)
def test_the_number_of_gpus_is_read_from_either_spelling(options, gpus):
    assert gpus_asked(SlurmOptions(**options)) == gpus


def test_equal_requests_form_arrays_no_longer_than_the_site_allows_that_share_its_parallelism():
    small, large = jobs(5, gres="gpu:1", array_parallelism=4), jobs(1, gres="gpu:2")
    found = arrays([*small, *large], max_array_size=2)
    assert [len(array.jobs) for array in found] == [2, 2, 1, 1]
    assert [array.parallel for array in found] == [1, 1, 1, 256]
    assert [array.request.gpus for array in found] == [1, 1, 1, 2]
    assert [job for array in found for job in array.jobs] == [*small, *large]


def test_a_full_disk_while_submitting_is_one_clear_error(tmp_path, monkeypatch):
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("submitit.SlurmExecutor.submit_array", full_disk)
    monkeypatch.setattr("submitit.SlurmExecutor.affinity", lambda _: 1)
    (array,) = arrays(jobs(1), max_array_size=10)
    with pytest.raises(StorageError, match=r"cannot write .*jobs: No space left on device"):
        submit(array, [print], name="a", folder=tmp_path / "jobs", setup=[])


def test_a_request_is_given_to_submitit_in_its_terms_with_the_cpus_told_to_srun_again():
    request = Request.of(
        SlurmOptions(partition="p", gres="gpu:2", cpus_per_task=4, mem_gb=1.5, reservation="r", additional={"nice": 5})
    )
    assert request.parameters_of_submitit() == {
        "partition": "p",
        "gres": "gpu:2",
        "cpus_per_task": 4,
        "mem": "1536M",
        "nodes": 1,
        "ntasks_per_node": 1,
        "time": 60,
        "additional_parameters": {"nice": 5, "reservation": "r"},
        "srun_args": ["--cpus-per-task=4"],
        "stderr_to_stdout": True,
    }


def test_all_faults_of_a_request_are_told_at_once():
    options = SlurmOptions(
        time_min=0, mem_gb=0.0, gres="gpu:1", gpus_per_node="1", nodes=2, additional={"time": 5, "job_name": "x"}
    )
    assert cell_faults(cell("gpu=a100-40", "tp=2"), options) == [
        "hydra.launcher.time_min=0 must be at least 1",
        "hydra.launcher.mem_gb=0 must be above 0",
        (
            "hydra.launcher.gres=gpu:1 and gpus_per_node=1 are two spellings of one request. "
            "Set the one that your site does not use to null."
        ),
        "hydra.launcher.additional.time: say hydra.launcher.time_min",
        "hydra.launcher.additional.job_name: the launcher sets --job-name itself",
        "hydra.launcher.nodes=2 where the cell is of nodes=1: give that instead",
        "2 ranks need 2 GPUs; hydra.launcher.gpus_per_node=1 asks for 1. Write ${ranks} for the number.",
    ]


def test_a_gpu_that_nobody_asks_for_is_a_fault_and_a_cpu_needs_none():
    (fault,) = cell_faults(cell("gpu=a100-40", "tp=2"), SlurmOptions())
    assert fault.startswith("gpu.name=A100-40 needs 2 GPUs, and the job asks for none.")
    assert cell_faults(cell("gpu=cpu", "tp=2"), SlurmOptions()) == []


def test_an_unknown_key_is_told_with_those_that_there_are():
    with pytest.raises(ConfigurationError, match=r"partitoin.* Keys: cluster, submission_dir, partition, account"):
        options_from(OmegaConf.create({"partitoin": "gpu"}))


def test_what_holds_for_the_whole_sweep_cannot_differ():
    assert sweep_faults([SlurmOptions(), SlurmOptions(pack=False)]) == [
        "hydra.launcher.pack must be one for the whole sweep; found True, False"
    ]


@pytest.mark.parametrize(
    ("printed", "options"),
    [
        (
            (
                "sbatch: error: invalid partition specified: nowhere\n"
                "sbatch: error: Batch job submission failed: Invalid partition name specified"
            ),
            {"partition": "nowhere"},
        ),
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            {"partition": "nowhere"},
        ),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", {"qos": "q"}),
        (
            "sbatch: error: Batch job submission failed: Requested time limit is invalid",
            {"time_min": 60},
        ),
        (
            "sbatch: error: Batch job submission failed: Requested node configuration is not available",
            {"gres": "gpu:8", "cpus_per_task": 1, "nodes": 1},
        ),
        ("sbatch: error: Invalid generic resource (gres) specification", {"gres": "gpu:8"}),
        ("sbatch: error: Batch job submission failed: Invalid feature specification", {}),
        (
            "sbatch: unrecognized option '--colour'\nTry \"sbatch --help\" for more information",
            {"additional.colour": "red"},
        ),
        ("sbatch: error: slurm_persist_conn_open: something else", {}),
    ],
)
def test_a_refusal_names_the_option_that_it_is_about(printed, options):
    request = {"partition": "nowhere", "qos": "q", "gres": "gpu:8", "cpus_per_task": 1, "nodes": 1, "time_min": 60}
    error = refusal(printed, request, {"colour": "red"})
    assert error.options == options
    assert str(error).startswith("sbatch refused the job: ")


@pytest.mark.parametrize("name", ["slurm", "site-example"])
@pytest.mark.parametrize("tp", [1, 4])
def test_every_site_file_composes_to_a_request_without_a_fault_for_every_cell(name, tp):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [f"hydra/launcher={name}", "gpu=a100-40", f"tp={tp}"]
        config = compose("launch", overrides, return_hydra_config=True)
    options = options_from(config.hydra.launcher)
    assert cell_faults(cell("gpu=a100-40", f"tp={tp}"), options) == []
    assert gpus_asked(options) == tp
    assert (options.gres is None) == (name == "site-example")


def options_of(*overrides):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("launch", ["hydra/launcher=slurm", *overrides], return_hydra_config=True)
    return options_from(config.hydra.launcher)


@pytest.mark.parametrize(
    ("overrides", "cores", "mem_gb"),
    [
        (("gpu=cpu", "tp=2"), 2, None),
        (("gpu=a100-40", "tp=1"), 4, 12),
        (("gpu=a100-40", "tp=4"), 16, 48),
        (("gpu=a100-40", "profile=network", "ranks=2", "nodes=2"), 8, 24),
        (("gpu=a100-40", "tp=4", "hydra.launcher.cpus_per_task=6", "hydra.launcher.mem_gb=100"), 6, 100),
        (("gpu=a100-40", "tp=4", "hydra.launcher.mem_gb=null"), 16, None),
        (("gpu=cpu", "gpu.device=cuda", "tp=1"), 4, 12),
    ],
)
def test_a_rank_on_a_gpu_gets_cores_and_memory_for_what_runs_beside_its_step(overrides, cores, mem_gb):
    options = options_of(*overrides)
    assert (options.cpus_per_task, options.mem_gb) == (cores, mem_gb)
    assert dict(Request.of(options).parameters).get("mem") == (None if mem_gb is None else f"{mem_gb * 1024}M")
