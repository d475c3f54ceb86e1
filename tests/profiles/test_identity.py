"""The identity of a cell lasts: what is added later changes it for nobody."""

import pytest

from sailor_exp.config.schema import CELL_KEYS, ModelConfig, plain
from sailor_exp.profiles import identity
from sailor_exp.profiles.identity import FOUNDING_KEYS, asked_identity, identity_of, label, lasting
from sailor_exp.profiles.registry import NAMES, profile_named
from sailor_exp.records.selection import belongs
from tests.build.cells import cell, gather_config

QUICK = {
    "layers": ("tp=2", "mbs=4"),
    "varuna": ("profile=varuna", "tp=2", "mbs=1"),
    "oobleck": ("profile=oobleck", "tp=2"),
    "galvatron": ("profile=galvatron", "pp=2", "tp=2"),
    "overlap": ("profile=overlap", "ranks=2"),
    "network": ("profile=network", "ranks=2", "nodes=2"),
    "check": ("profile=check", "pp=2", "tp=1", "mbs=1", "num_microbatches=4"),
}
DIGESTS = {
    "layers": "1bdd9005c477",
    "varuna": "09309abe8db3",
    "oobleck": "1727d6c318ec",
    "galvatron": "9eb66f56496a",
    "overlap": "56617b9a2930",
}
"""Of these cells by the code that wrote the first records of each profile."""


@pytest.mark.parametrize("profile", sorted(DIGESTS))
def test_a_cell_has_the_digest_that_its_first_records_have(profile):
    """Records are found by it."""
    assert identity_of(cell(*QUICK[profile])).digest[:12] == DIGESTS[profile]


def test_raising_the_method_of_one_profile_measures_no_other_again(monkeypatch):
    before = {name: identity_of(cell(*QUICK[name])).digest for name in NAMES}
    monkeypatch.setattr(type(profile_named("layers")), "method", 3)
    after = {name: identity_of(cell(*QUICK[name])).digest for name in NAMES}
    assert [name for name in NAMES if before[name] != after[name]] == ["layers"]


def test_a_key_that_is_added_later_and_at_its_default_is_left_out():
    assert lasting({"hidden_size": 8, "new": 1}, {"new": 1}) == {"hidden_size": 8}
    assert lasting({"hidden_size": 8, "new": 2}, {"new": 1}) == {"hidden_size": 8, "new": 2}
    assert lasting({"window_size": None}, {"window_size": None}) == {"window_size": None}, "the first records have it"


def test_a_model_key_that_is_added_later_orphans_no_record(monkeypatch):
    asked = cell("tp=2", "mbs=4")
    before = identity_of(asked)
    content = plain(asked)
    for value, same in ((1.0, True), (0.5, False)):
        longer = {**content, "model": {**content["model"], "rotary_percent": value}}
        monkeypatch.setattr(identity, "plain", lambda _, longer=longer: longer)
        monkeypatch.setattr(identity, "_defaults", lambda _: {"rotary_percent": 1.0})
        after = identity_of(asked)
        assert (after.digest == before.digest) is same
        assert belongs(after, before) is same


def test_the_first_keys_are_those_that_there_are_today_until_one_is_added():
    today = {*ModelConfig.__dataclass_fields__, *CELL_KEYS, "precision", "optimizer", "attention"}
    assert today >= FOUNDING_KEYS


@pytest.mark.parametrize("profile", NAMES)
def test_a_cell_belongs_to_what_is_asked_for_under_its_own_configuration(profile):
    assert belongs(identity_of(cell(*QUICK[profile])), asked_identity(gather_config(), profile))


def test_a_cell_is_named_by_the_keys_that_its_profile_uses():
    assert label(cell("tp=2", "mbs=4")) == "gpt-tiny CPU tp=2 mbs=4"
    assert label(cell("profile=overlap", "ranks=4")) == "overlap CPU ranks=4"


@pytest.mark.parametrize(
    "change",
    ["tp=2", "mbs=2", "precision=bf16", "optimizer=sgd", "attention=sdpa", "model.num_layers=2", "gpu.memory_gb=1"],
)
def test_what_determines_the_numbers_is_in_the_identity(change):
    assert identity_of(cell(change)).digest != identity_of(cell()).digest


def test_tf32_gives_other_cells_than_fp32_and_bf16():
    digests = {identity_of(cell(f"precision={precision}")).digest for precision in ("fp32", "tf32", "bf16")}
    assert len(digests) == 3
    assert identity_of(cell("precision=fp32")).digest == identity_of(cell()).digest, "what was fp32 stays fp32"


@pytest.mark.parametrize("change", ["force=true", "profile_dir=elsewhere", "sampling.max_steps=20", "vm='8'"])
def test_what_does_not_is_not(change):
    assert identity_of(cell(change)).digest == identity_of(cell()).digest
