"""Memory of one part alone, against what can be counted by hand.

Legend: s sequence, b microbatch, h hidden size, a heads; a unit is s b h numbers of 4 bytes. The layer is a GELU one
with biases and LayerNorm: 12 h^2 + 13 h parameters.
"""

import weakref

import pytest
import torch

from sailor_exp.config.architecture import Kind
from sailor_exp.instruments.peaks import forget_the_past
from sailor_exp.profiles.oobleck.rank import OobleckRank
from sailor_exp.profiles.varuna.rank import VarunaRank
from sailor_exp.records.provenance import DeviceFacts
from sailor_exp.training.part_alone import PartAlone
from tests.build.cells import cell

DEVICE = torch.device("cpu")
FACTS = DeviceFacts(name="cpu", uuid=None, driver=None, memory_bytes=None, clock_mhz={})
H = 128
PARAMETERS = 12 * H * H + 13 * H


class Silent:
    def progress(self, phase: str, steps: int = 0) -> None:
        pass

    def entering(self, phase: str) -> None:
        pass


def lasting_of_a_part(asked) -> list[weakref.ref]:
    part = PartAlone(asked, Kind.layer, DEVICE)
    part.step()
    lasting = [weakref.ref(tensor) for tensor in part.engine.lasting_tensors()]
    part.release()
    return lasting


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_of_a_part_stays_beside_the_next(alone, precision):
    lasting = lasting_of_a_part(cell("model.num_layers=1", f"precision={precision}"))
    forget_the_past(DEVICE)
    assert lasting
    assert not [tensor for tensor in lasting if tensor() is not None]


def counts(profile, *overrides: str) -> dict[str, int]:
    asked = cell("model.hidden_size=128", "model.ffn_hidden_size=512", *overrides)
    measured = profile(asked, DEVICE, Silent()).measure(asked, FACTS)
    return measured.counts[Kind.layer.value]


def kept_bytes(*, s: int, b: int, a: int) -> int:
    """What a layer keeps: of s b h the input, its norm, query, key and value, the context, the sum behind attention and
    its norm, four times each what enters and leaves the activation; the probabilities; two norms' means and deviations.
    """
    return 4 * ((1 + 1 + 3 + 1 + 1 + 1 + 4 + 4) * s * b * H + a * s * s * b + 2 * 2 * s * b)


@pytest.mark.parametrize(("s", "b", "a"), [(128, 1, 8), (64, 3, 4)])
def test_a_layer_keeps_what_can_be_counted_by_hand(alone, s, b, a):
    shape = (f"model.seq_length={s}", f"model.num_attention_heads={a}", f"mbs={b}")
    assert counts(OobleckRank, *shape)["act_mem_bytes"] == kept_bytes(s=s, b=b, a=a)


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
    found = VarunaRank(asked, torch.device("cuda", 0), Silent()).counts(Trained(change), asked, Kind.head)
    assert found == {"peak_bytes": 390, "lasting_bytes": 300}


def test_where_parameters_are_most_the_peak_is_at_the_update(alone):
    """Parameters, gradients and two moments: 16 bytes each; with SGD, which keeps nothing, 8."""
    small = ("model.seq_length=8", "model.num_attention_heads=1", "mbs=1")
    assert counts(VarunaRank, *small)["peak_bytes"] == pytest.approx(16 * PARAMETERS, rel=0.05)
    assert counts(VarunaRank, *small, "optimizer=sgd")["peak_bytes"] == pytest.approx(8 * PARAMETERS, rel=0.05)
