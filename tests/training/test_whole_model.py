"""A model trains through the pipeline as it does in one piece."""

import weakref
from pathlib import Path

import pytest
import torch

from sailor_exp.config.schema import Device
from sailor_exp.errors import UpdateSkippedError
from sailor_exp.instruments.peaks import forget_the_past
from sailor_exp.sweep.rank_group import RankGroup, server
from sailor_exp.training.parts import batch_of
from sailor_exp.training.whole_model import training_of
from tests.build.cells import cell
from tests.build.training_ranks import Asked, Told, path_of, train

SMALL = (
    "profile=galvatron",
    "model.num_layers=3",
    "model.seq_length=16",
    "model.max_position_embeddings=16",
    "model.vocab_size=256",
    "mbs=2",
    "num_microbatches=3",
)


def run(directory: Path, *overrides: str, tp: int, pp: int) -> list[Told]:
    directory.mkdir()
    asked = Asked(overrides=(*SMALL, *overrides, f"tp={tp}", f"pp={pp}"), directory=directory)
    heard = []
    ranks = RankGroup(server(Device.cpu), tp * pp, stall_s=60, on_message=lambda rank, message: heard.append(message))
    end = ranks.run(train, asked)
    assert end is None, (end, heard)
    return [torch.load(path_of(directory, rank), weights_only=False) for rank in range(tp * pp)]


@pytest.mark.ranks
@pytest.mark.parametrize(
    ("tp", "pp", "overrides", "split"),
    [
        (2, 2, ("precision=fp32",), [[0, 1], [2, 3, 4]]),
        (1, 3, ("precision=bf16", "model.separate_final_norm=true"), [[0, 1], [2], [3, 4, 5]]),
    ],
)
def test_a_pipeline_trains_as_the_whole_model_does(tmp_path, tp, pp, overrides, split):
    whole = run(tmp_path / "whole", *overrides, tp=tp, pp=1)
    stages = run(tmp_path / "stages", *overrides, tp=tp, pp=pp)
    assert [sorted(told.parameters) for told in stages[::tp]] == split
    assert whole[0].losses[1] < whole[0].losses[0]
    for rank, told in enumerate(stages):
        in_one_piece = whole[rank % tp]
        assert told.losses == pytest.approx(in_one_piece.losses, rel=1e-6 if "precision=fp32" in overrides else 1e-3)
        for layer_id, parameters in told.parameters.items():
            for parameter, expected in zip(parameters, in_one_piece.parameters[layer_id], strict=True):
                torch.testing.assert_close(parameter, expected)
    for told in (*whole, *stages):
        assert told.held_bytes == pytest.approx(told.lasting_bytes, rel=0.03)  # DeepSpeed keeps the last loss's graph
    assert whole[0].phases == ["forward", "backward", "reduce gradients", "update"] * 3 + ["mean loss"]
    for told in stages:
        assert told.phases.count("forward") == told.phases.count("backward") == 3
        assert told.phases[-4:] == ["reduce gradients", "reduce gradients", "update", "mean loss"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_of_a_model_stays_beside_the_next(alone, precision):
    lasting = lasting_of_a_model(cell("profile=galvatron", *SMALL[1:5], f"precision={precision}"))
    forget_the_past(torch.device("cpu"))
    assert lasting
    assert not [tensor for tensor in lasting if tensor() is not None]


def lasting_of_a_model(asked) -> list[weakref.ref]:
    device = torch.device("cpu")
    training = training_of(asked, device)
    training.step([batch_of(asked, device)])
    lasting = [weakref.ref(tensor) for tensor in training.lasting_tensors()]
    training.release()
    return lasting


def test_a_step_whose_update_deepspeed_skips_is_no_step(alone):
    asked, device = cell("profile=galvatron", *SMALL[1:5], "precision=bf16"), torch.device("cpu")
    training = training_of(asked, device)
    with torch.no_grad():
        next(training.parts[1].parameters()).fill_(float("inf"))
    with pytest.raises(UpdateSkippedError):
        training.step([batch_of(asked, device)])
