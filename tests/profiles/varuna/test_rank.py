"""Memory of one layer alone, against what can be counted by hand. Legend: `tests/build/one_layer.py`."""

import pytest
import torch

from sailor_exp.config.architecture import Kind
from sailor_exp.profiles.varuna.rank import VarunaRank
from tests.build.cells import cell
from tests.build.fake_instruments import Voice
from tests.build.one_layer import PARAMETERS, H, counts, kept_bytes


def test_where_activations_are_most_the_peak_is_at_the_start_of_the_backward(alone):
    """Parameters and moments, what is kept, output and its gradient, and that of what left the activation (4 units)."""
    found = counts(VarunaRank, "model.seq_length=32", "model.num_attention_heads=1", "mbs=16")
    unit, second_projection = 4 * 32 * 16 * H, 4 * 4 * H * H
    expected = 12 * PARAMETERS + kept_bytes(s=32, b=16, a=1) + (1 + 1 + 4) * unit + second_projection
    assert found["peak_bytes"] == pytest.approx(expected, rel=0.05)
    assert found["lasting_bytes"] == pytest.approx(12 * PARAMETERS, rel=0.001)


class Trained:
    """A part with 300 bytes of lasting tensors, whose step allocates 90 more; something else holds 1000."""

    def __init__(self, change) -> None:
        self.engine = self
        self.change = change

    def lasting_tensors(self):
        return [torch.zeros(300, dtype=torch.uint8)]

    def step(self):
        self.change(90)
        self.change(-90)


def test_on_cuda_what_is_of_no_part_is_not_counted(monkeypatch):
    held = {"now": 1300, "highest": 1300}

    def change(count):
        held["now"] += count
        held["highest"] = max(held.values())

    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: held["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: held["highest"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: held.update(highest=held["now"]))
    asked = cell("profile=varuna")
    found = VarunaRank(asked, torch.device("cuda", 0), Voice()).counts(Trained(change), asked, Kind.head)
    assert found == {"peak_bytes": 390, "lasting_bytes": 300}


def test_where_parameters_are_most_the_peak_is_at_the_update(alone):
    """Parameters, gradients and two moments: 16 bytes each; with SGD, which keeps nothing, 8."""
    small = ("model.seq_length=8", "model.num_attention_heads=1", "mbs=1")
    assert counts(VarunaRank, *small)["peak_bytes"] == pytest.approx(16 * PARAMETERS, rel=0.05)
    assert counts(VarunaRank, *small, "optimizer=sgd")["peak_bytes"] == pytest.approx(8 * PARAMETERS, rel=0.05)
