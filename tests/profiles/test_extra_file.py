import json
import warnings

import pytest

from sailor_exp.profiles.oobleck.measurement import ActivationMeasurement
from sailor_exp.profiles.registry import profile_named
from sailor_exp.records import files as record_files
from tests.build.cells import cell
from tests.build.records import ok, provenance

FILE = "oobleck_profile_gpt-tiny_CPU.json"


def written(directory, kept, *overrides):
    of = cell("profile=oobleck", "model.num_layers=1", *overrides)
    measurement = ActivationMeasurement(
        layers={"0": "embedding", "1": "layer", "2": "head"},
        act_mem_bytes={"embedding": kept, "layer": kept, "head": kept},
    )
    made = ok(of, measurement, provenance(finished_at="2026-01-01T00:00:00+00:00"))
    record_files.write(made, directory)
    profile_named("oobleck").written(made, directory)


def test_a_file_that_another_precision_would_have_too_has_the_last_and_it_is_told(tmp_path):
    record_files.prepare(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(tmp_path, 4)
        written(tmp_path, 4, "gpu.memory_gb=1.0")
        written(tmp_path, 3, "tp=2")
        written(tmp_path, 9, "model.name=other")
    with pytest.warns(
        UserWarning, match=r"oobleck_profile_gpt-tiny_CPU.json .* Records beside it .3. have another precision, and"
    ):
        written(tmp_path, 2, "precision=bf16")
    assert json.loads((tmp_path / FILE).read_text()) == {"1": {"0": 2, "1": 2, "2": 2}}
