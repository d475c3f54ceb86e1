"""Every choice that changes what is measured, on real ranks."""

import pytest

from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome

pytestmark = pytest.mark.sweep

QUICK = ("profile_dir=out", "sampling.min_steps=4", "sampling.max_steps=4", "sampling.warmup=2")
SMALL_LLAMA = (
    "model=llama-3-8",
    "model.num_layers=3",
    "model.hidden_size=64",
    "model.num_attention_heads=8",
    "model.num_query_groups=2",
    "model.ffn_hidden_size=128",
    "model.seq_length=32",
    "model.vocab_size=1000",
)


def kinds(directory):
    ((_, made),) = record_files.read_all(directory / "out", "layers", LayersMeasurement)
    assert made.outcome is Outcome.ok, made.ending
    return made, made.measured.statistics.kinds


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_llama_has_a_final_norm_of_its_own_under_both_precisions(launch, tmp_path, precision):
    status, output = launch("tp=2", "mbs=2", f"precision={precision}", *SMALL_LLAMA, *QUICK)
    assert status == 0, output
    made, parts = kinds(tmp_path)
    assert list(parts) == ["embedding", "layer", "final_norm", "head"]
    assert made.measured.layers == {
        "0": "embedding",
        "1": "layer",
        "2": "layer",
        "3": "layer",
        "4": "final_norm",
        "5": "head",
    }
    bytes_each = {"fp32": 4, "bf16": 2}[precision]
    memory = made.measured.memory.kinds["layer"]
    assert memory.params_bytes == memory.params_floats * bytes_each


def test_layers_that_attend_to_a_window_are_a_kind_of_their_own(launch, tmp_path):
    status, output = launch("tp=1", "model.window_size=16", "model.window_attn_skip_freq=[0,1]", *QUICK)
    assert status == 0, output
    made, parts = kinds(tmp_path)
    assert list(parts) == ["embedding", "layer", "layer_window", "head"]
    assert [made.measured.layers[str(layer)] for layer in range(1, 5)] == ["layer", "layer_window"] * 2


def test_sgd_and_a_fused_attention_kernel_are_measured_and_keep_less(launch, tmp_path):
    status, output = launch("tp=1", "optimizer=sgd", "attention=sdpa", *QUICK)
    assert status == 0, output
    fused, _ = kinds(tmp_path)
    other = tmp_path / "unfused"
    assert launch("tp=1", *QUICK, f"profile_dir={other}")[0] == 0
    ((_, unfused),) = record_files.read_all(other, "layers", LayersMeasurement)
    kept, of_fused = unfused.measured.memory, fused.measured.memory
    scores_bytes = 8 * 128 * 128 * 4
    saved = kept.kinds["layer"].act_mem_bytes - of_fused.kinds["layer"].act_mem_bytes
    assert 0 < saved <= scores_bytes
    assert of_fused.peak_bytes < kept.peak_bytes
    assert fused.identity.digest != unfused.identity.digest
