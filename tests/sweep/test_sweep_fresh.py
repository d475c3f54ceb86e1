"""Ranks that cannot be forked from the server are started afresh; and what stops a sweep before any rank."""

import pytest

from sailor_exp.errors import RecordError
from sailor_exp.records.record import Outcome
from sailor_exp.sweep import reuse, sweep
from sailor_exp.sweep.messages import Cause, Death
from sailor_exp.sweep.rank_group import GroupEnd
from tests.build.cells import cell

SPOILT = Death(cause=Cause.inherited_cuda, message="a library called CUDA")
FAILING = Death(cause=Cause.error, message="no")


class Silent:
    def running(self, cell, phase, steps):
        pass

    def done(self, cell, outcome, *, reused):
        pass


class Machines:
    """Forked ranks are spoilt, fresh ones fail for a reason of their own."""

    log_tag = "test"

    def __init__(self):
        self.contexts = []

    def run(self, context, cells, logs, hear):
        self.contexts.append(context if context == "forked" else context.get_start_method())
        return GroupEnd(death=SPOILT if context == "forked" else FAILING, rank=0)


@pytest.fixture
def machines(monkeypatch):
    monkeypatch.setattr(sweep, "server", lambda device: "forked")
    return Machines()


def test_ranks_that_a_fork_spoils_are_started_afresh_and_so_are_all_after_them(machines, tmp_path):
    cells = [cell("tp=1", f"mbs={mbs}", f"profile_dir={tmp_path}") for mbs in (1, 2)]
    with pytest.warns(UserWarning, match="a library called CUDA"):
        results = sweep.run(cells, Silent(), machines)
    assert [result.record.outcome for result in results] == [Outcome.failed] * 2
    assert machines.contexts == ["forked", "spawn", "spawn"]


def test_so_are_those_of_a_machine_that_makes_no_record(machines, tmp_path):
    sweep.assist([cell("profile=network", "ranks=2", "nodes=2", f"profile_dir={tmp_path}")], machines)
    assert machines.contexts == ["forked", "spawn"]
    assert not list(tmp_path.iterdir())


def test_a_damaged_record_is_named_before_a_forced_measurement(machines, tmp_path):
    forced = cell("force=true", f"profile_dir={tmp_path}")
    path = reuse.record_path(forced)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(RecordError, match="cut off"):
        sweep.run([forced], Silent(), machines)
    assert machines.contexts == []
    assert path.read_text() == "{"
