import pytest

from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records import files as record_files


@pytest.mark.ranks
def test_a_layer_keeps_what_can_be_counted_by_hand(launch, tmp_path):
    quick = ("sampling.min_steps=2", "sampling.max_steps=2", "sampling.warmup=2")
    status, output = launch("tp=1", "mbs=3", "profile_dir=out", *quick)
    assert status == 0, output
    ((_, made),) = record_files.read_all(tmp_path / "out", "layers", LayersMeasurement)
    sequence, batch, hidden, heads, vocabulary = 128, 3, 128, 8, 4096
    tokens = sequence * batch
    # Inputs of both norms, of the three projections that follow them, query, key, value, the context, the feed-forward
    # network's activation before and after GELU; the attention weights; mean and deviation of each norm's rows.
    layer = tokens * hidden * (2 + 2 + 3 + 1 + 4 + 4) + batch * heads * sequence**2 + 4 * tokens
    memory = made.measured.memory
    kinds = memory.kinds
    assert kinds["layer"].act_mem_floats == layer
    assert kinds["layer"].act_mem_bytes == 4 * layer
    assert kinds["layer"].act_input_floats == kinds["layer"].act_output_floats == tokens * hidden
    assert kinds["head"].act_output_floats == tokens * vocabulary + 1
    assert kinds["embedding"].act_input_bytes == 2 * tokens * 8
    states = 4 * sum(kinds[kind].params_bytes * count for kind, count in (("embedding", 1), ("layer", 2), ("head", 1)))
    kept = 2 * kinds["layer"].act_mem_bytes + kinds["head"].act_mem_bytes
    assert memory.peak_bytes == pytest.approx(states * 3 / 4 + kept, rel=0.25)
