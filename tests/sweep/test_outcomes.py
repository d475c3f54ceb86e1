import pytest

from sailor_exp.config.schema import Device
from sailor_exp.records.record import Outcome
from sailor_exp.sweep.messages import Cause, Death
from sailor_exp.sweep.rank_group import GroupEnd
from sailor_exp.sweep.sweep import _outcome

ABORTED = Death(cause=Cause.signal, message="rank 0 was ended by SIGABRT", signal="SIGABRT")


@pytest.mark.parametrize(("device", "outcome"), [(Device.cpu, Outcome.oom), (Device.cuda, Outcome.failed)])
def test_an_abort_for_want_of_the_machines_memory_is_a_result_on_a_cpu_alone(tmp_path, device, outcome):
    log = tmp_path / "rank0.log"
    log.write_text("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n")
    assert _outcome(GroupEnd(death=ABORTED, rank=0), [log], device) is outcome
