import pytest

from sailor_exp.profiles.oobleck.rank import OobleckRank
from tests.build.one_layer import counts, kept_bytes


@pytest.mark.parametrize(("s", "b", "a"), [(128, 1, 8), (64, 3, 4)])
def test_a_layer_keeps_what_can_be_counted_by_hand(alone, s, b, a):
    shape = (f"model.seq_length={s}", f"model.num_attention_heads={a}", f"mbs={b}")
    assert counts(OobleckRank, *shape)["act_mem_bytes"] == kept_bytes(s=s, b=b, a=a)
