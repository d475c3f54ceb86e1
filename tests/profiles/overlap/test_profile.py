from sailor_exp.profiles.faults import faults
from tests.build.link_records import overlap_cell


def test_a_group_that_cannot_be_is_a_fault_before_anything_starts():
    assert faults(overlap_cell(ranks=2)) == []
    assert "nobody to all-reduce with" in faults(overlap_cell(ranks=1))[0]
    assert faults(overlap_cell("nodes=2")) == ["nodes=2: profile=overlap has no use for it; leave it out"]
