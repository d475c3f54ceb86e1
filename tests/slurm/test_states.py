from sailor_exp.slurm import states
from sailor_exp.slurm.states import JobState


def test_states_are_read_from_both_commands():
    assert states.read_squeue("12_3|PENDING|Resources|\n13|RUNNING|None|n[1-2]\n") == {
        "12_3": JobState(name="PENDING", reason="Resources"),
        "13": JobState(name="RUNNING", nodes="n[1-2]"),
    }
    assert states.read_sacct("12|CANCELLED by 7|0:15|n1\n12.batch|CANCELLED|0:15|n1\n13_[0-4]|PENDING|0:0|\n") == {
        "12": JobState(name="CANCELLED", by="7", exit_code="0:15", nodes="n1", accounted=True),
        "13_[0-4]": JobState(name="PENDING", exit_code="0:0", nodes="", accounted=True),
    }
