"""Ranks that cannot be forked from the server are started afresh."""

import pytest

from sailor_exp import sweep
from sailor_exp.messages import Cause, Death
from sailor_exp.ranks import GroupEnd
from sailor_exp.record import Outcome
from tests.cells import cell

SPOILT = Death(cause=Cause.inherited_cuda, message="a library called CUDA")
FAILING = Death(cause=Cause.error, message="no")


class Silent:
    def running(self, cell, phase, steps):
        pass

    def done(self, cell, outcome, *, reused):
        pass


@pytest.fixture
def contexts(monkeypatch):
    """Start methods of the groups of a sweep; forked ranks are spoilt, fresh ones fail for a reason of their own."""
    used = []

    class Group:
        def __init__(self, context, size, **_):
            used.append(context)

        def run(self, target, task):
            return GroupEnd(death=SPOILT if used[-1] == "forked" else FAILING, rank=0)

    monkeypatch.setattr(sweep, "RankGroup", Group)
    monkeypatch.setattr(sweep, "server", lambda device: "forked")
    return used


def test_ranks_that_a_fork_spoils_are_started_afresh_and_so_are_all_after_them(contexts, tmp_path):
    cells = [cell("tp=1", f"mbs={mbs}", f"profile_dir={tmp_path}") for mbs in (1, 2)]
    with pytest.warns(UserWarning, match="a library called CUDA"):
        results = sweep.run(cells, Silent())
    assert [result.record.outcome for result in results] == [Outcome.failed] * 2
    assert [context if context == "forked" else context.get_start_method() for context in contexts] == [
        "forked",
        "spawn",
        "spawn",
    ]
