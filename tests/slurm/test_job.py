"""What runs inside a job, up to the ranks."""

import pytest

from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records import files as record_files
from sailor_exp.slurm import job
from tests.build.cells import cell
from tests.build.fake_slurm import FakeSlurm
from tests.conftest import ROOT


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """What a job measures that was given so many GPUs: a cell for which no rank is started."""
    monkeypatch.setattr(job, "_leave_ending_to_slurm", lambda _: None)
    for name in ("SLURM_JOB_ID", "SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    infeasible = cell("model=gpt-neo-2.7", "vm='8'", "tp=8", f"profile_dir={tmp_path / 'out'}")
    return lambda gpus: job.measure([infeasible], code=ROOT, gpus=gpus, folder=tmp_path)


@pytest.mark.parametrize(("asked", "visible"), [(2, "0"), (2, None), (1, "0,1"), (1, "")])
def test_a_job_on_other_gpus_than_it_asked_for_stops(asked, visible):
    with pytest.raises(job.WrongGpusError, match=f"the job asked for {asked} GPUs; CUDA_VISIBLE_DEVICES is"):
        job.check_gpus(asked, visible)


@pytest.mark.parametrize(("asked", "visible"), [(2, "1,3"), (None, None)])
def test_a_job_on_the_gpus_that_it_asked_for_goes_on(measured, monkeypatch, asked, visible):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert measured(asked) == ["infeasible"]


def test_a_job_that_imports_other_code_stops(tmp_path):
    with pytest.raises(job.WrongCodeError, match="was submitted with the code in"):
        job.check_code(tmp_path)
    job.check_code(ROOT)


def test_a_record_that_a_job_makes_tells_what_shares_its_node(measured, monkeypatch, tmp_path):
    slurm = FakeSlurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", slurm.path)
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    slurm.answer("scontrol", "JobId=11 JobName=sailor\n   Priority=1 OverSubscribe=OK Contiguous=0\n")
    slurm.answer("squeue", "11\n12\n13\n13\n")
    assert measured(None) == ["infeasible"]
    ((_, made),) = record_files.read_all(tmp_path / "out", "layers", LayersMeasurement)
    assert made.provenance.slurm == {"SLURM_JOB_ID": "11", "OverSubscribe": "OK", "other_jobs_on_node": "2"}
    assert "--nodelist=n1" in slurm.calls("squeue")[0]
