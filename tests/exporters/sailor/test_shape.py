"""Which memory is of the configured model, by its parameters."""

import json
from pathlib import Path

import pytest

from sailor_exp.config.architecture import Kind, parameters_of_part
from sailor_exp.config.schema import ModelConfig
from sailor_exp.errors import MixedShapesError
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.sailor.exporter import files
from sailor_exp.exporters.sailor.shape import Source, check_shape
from sailor_exp.profiles.layers.published import MEMORY_KEYS, LayerCounts
from tests.build.cells import gather_config

LLAMA = "model=llama-3-8"
# Embedding and transformer layer of LLAMA-3-8 in the published llm_info.json (eth-easl/sailor, cf2c8e3). Its norm and
# its head count 4096 parameters at every tp.
PUBLISHED_LLAMA = {1: (206045184, 268496896), 2: (103284736, 134256640), 4: (51904512, 67136512)}
ITS_KEYS = (
    "model.num_query_groups=32",
    "model.ffn_hidden_size=16384",
    "model.vocab_size=50257",
    "model.add_bias_linear=true",
)


def model(*overrides: str) -> ModelConfig:
    return gather_config(*overrides).model


def source(name: str, tp: int, parameters: list[int]) -> Source:
    return Source(name=name, tp=tp, memory={layer: counts(number) for layer, number in enumerate(parameters)})


def counts(parameters: int) -> LayerCounts:
    return LayerCounts(**{**dict.fromkeys(MEMORY_KEYS, 1), "params_floats": parameters})


def published_llama() -> list[Source]:
    return [
        source(f"LLAMA-3-8.{tp}", tp, [embedding, *[layer] * 32, 4096, 4096])
        for tp, (embedding, layer) in PUBLISHED_LLAMA.items()
    ]


def test_the_published_llama_is_another_shape_than_its_name() -> None:
    with pytest.raises(MixedShapesError, match=r"LLAMA-3-8\.1: layer 0 has 206045184 .* model has 525336576"):
        check_shape(model(LLAMA), published_llama())


def test_the_published_llama_has_the_parameters_of_its_own_keys() -> None:
    check_shape(model(LLAMA, *ITS_KEYS), published_llama())


def test_a_tp_that_does_not_divide_the_architecture_must_not_have_more_parameters() -> None:
    """gpt-tiny has eight heads."""
    of_tp_1 = source("a record", 1, [540672, *[198272] * 4, 524544])
    check_shape(model(), [of_tp_1, source("another", 16, [1, *[198272] * 4, 1])])
    with pytest.raises(MixedShapesError, match=r"another: layer 1 has 198273 .*; a record has 198272 at tp=1"):
        check_shape(model(), [of_tp_1, source("another", 16, [1, *[198273] * 4, 1])])


@pytest.mark.parametrize("heads", [(524544, 100), (100, 524544)])
def test_two_cells_of_one_tp_have_the_same_parameters(heads: tuple[int, int]) -> None:
    """The head is not compared with the architecture."""
    embedding, layer = (parameters_of_part(model(), kind, 1) for kind in (Kind.embedding, Kind.layer))
    one, other = (source(f"mbs={head}", 1, [embedding, *[layer] * 4, head]) for head in heads)
    check_shape(model(), [one, one])
    with pytest.raises(MixedShapesError, match=f"mbs={heads[1]}: layer 5 has {heads[1]} .*mbs={heads[0]} has"):
        check_shape(model(), [one, other])


def test_a_profile_file_of_another_shape_is_refused_by_its_cell(tmp_path: Path) -> None:
    """49984 parameters in a layer of gpt-tiny, which has 198272."""
    of_another = source("", 1, [540672, *[49984] * 4, 524544]).memory
    content = {"timing": {layer: [0.5, 0.2, 0.1] for layer in of_another}, "memory": of_another}
    (tmp_path / "profile_gpt-tiny_CPU_1_1.json").write_text(json.dumps(content))
    config = gather_config(f"profile_dir={tmp_path}", f"export_root={tmp_path}/export")
    refused = r"the profile file of tp=1 mbs=1 in .*: layer 1 has 49984 .* the configured model has 198272"
    with Inputs(config) as inputs, pytest.raises(MixedShapesError, match=refused):
        files(inputs)
