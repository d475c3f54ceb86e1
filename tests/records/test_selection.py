"""Which records belong together and which of them counts."""

from pathlib import Path

import pytest

from sailor_exp.errors import MixedRecordsError
from sailor_exp.profiles.identity import asked_identity, identity_of
from sailor_exp.records.record import Outcome
from sailor_exp.records.selection import belongs, differences, refuse_strangers, select
from tests.build.cells import gather_config
from tests.build.link_records import network_cell
from tests.build.records import cell, changed, measured, unmeasured

ASKED = asked_identity(gather_config(), "layers")


def at(day: int) -> str:
    return f"2026-01-{day:02}T00:00:00+00:00"


@pytest.mark.parametrize("overrides", [{"tp": 2}, {"mbs": 4}])
def test_cells_of_one_grid_belong_together(overrides):
    assert belongs(identity_of(cell(**overrides)), ASKED)


def test_the_memory_of_a_rank_and_the_options_of_a_profile_keep_no_record_away():
    assert belongs(identity_of(cell("gpu.memory_gb=1")), ASKED)
    links = asked_identity(gather_config(), "network")
    assert belongs(identity_of(network_cell("profile.most_bytes=1048576")), links)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.num_layers=6", "model.num_layers"),
        ("model.name=other", "model.name"),
        ("gpu.name=other", "gpu.name"),
        ("gpu.backend=nccl", "gpu.backend"),
        ("precision=bf16", "precision"),
        ("precision=tf32", "precision"),
        ("optimizer=sgd", "optimizer"),
        ("attention=sdpa", "attention"),
    ],
)
def test_what_determines_the_numbers_keeps_records_apart_and_is_named(override, key):
    (difference,) = differences(identity_of(cell(override)), ASKED)
    assert difference.key == key
    assert not belongs(identity_of(cell(override)), ASKED)


def test_a_stranger_is_refused_beside_one_that_agrees():
    agreeing, stray = identity_of(cell()), identity_of(cell("precision=bf16"))
    with pytest.raises(
        MixedRecordsError, match=r"b was measured with precision=bf16; asked for is precision=fp32, which a has"
    ):
        refuse_strangers([(Path("a"), agreeing), (Path("b"), stray)], ASKED)
    refuse_strangers([(Path("a"), agreeing)], ASKED)


def test_of_one_cell_the_newest_result_counts():
    older = measured(cell("gpu.memory_gb=16"), finished_at=at(1))
    newer = unmeasured(cell("gpu.memory_gb=1"), Outcome.oom, finished_at=at(2))
    assert select([newer, older]).counting == (newer,)


@pytest.mark.parametrize("outcome", [Outcome.failed, Outcome.timeout])
def test_what_broke_counts_only_where_there_is_no_other(outcome):
    good = measured(cell("gpu.memory_gb=16"), finished_at=at(1))
    broken = unmeasured(cell("gpu.memory_gb=1"), outcome, finished_at=at(2))
    assert select([good, broken]).counting == (good,)
    assert select([broken]).counting == (broken,)


def test_the_newest_method_counts_and_the_others_are_counted_as_left_out():
    now = measured(cell(), finished_at=at(1))
    before = [changed(measured(cell(mbs=mbs), finished_at=at(2)), method=now.identity.method - 1) for mbs in (1, 2)]
    selection = select([*before, now])
    assert selection.counting == (now,)
    assert selection.aside == 2
    assert selection.warnings(now.identity.method) == [
        "2 records of an older method of measuring were left out: measure those cells again"
    ]


def test_cells_come_in_rising_order_and_one_record_each():
    records = [measured(cell(tp=tp, mbs=mbs)) for tp, mbs in ((2, 4), (1, 16), (1, 2), (1, 2))]
    keys = [(record.identity.tp, record.identity.mbs) for record in select(records).counting]
    assert keys == [(1, 2), (1, 16), (2, 4)]


def test_without_records_nothing_counts_and_nothing_is_warned_of():
    selection = select([])
    assert (selection.counting, selection.aside, selection.warnings(2)) == ((), 0, [])
