import json
from pathlib import Path

import pytest

from sailor_exp.profiles.layers import profile_file
from sailor_exp.profiles.layers.published import MEMORY_KEYS
from sailor_exp.records.record import Outcome
from tests.build.records import FORWARD_S, cell, measured, unmeasured


def test_the_profile_file_has_every_layer_id_in_order_and_names_its_record(tmp_path):
    made = measured(cell("model=llama-3-8", "model.num_layers=12", tp=2, mbs=4))
    path = profile_file.write(made, tmp_path)
    assert path.name == "profile_LLAMA-3-8_CPU_2_4.json"
    content = json.loads(path.read_text())
    assert list(content["timing"]) == list(content["memory"]) == [str(layer) for layer in range(15)]
    assert content["timing"]["7"] == [FORWARD_S["layer"] * 2 * share for share in (1.0, 2.0, 0.5)]
    assert set(content["memory"]["14"]) == set(MEMORY_KEYS)
    assert all(type(count) is int for count in content["memory"]["0"].values())
    assert content["record"] == made.file_name


def test_a_cell_without_numbers_has_no_profile_file(tmp_path):
    with pytest.raises(ValueError, match="is oom: it has no numbers"):
        profile_file.write(unmeasured(cell(), Outcome.oom), tmp_path)
    assert list(Path(tmp_path).iterdir()) == []
