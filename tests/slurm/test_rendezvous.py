import pytest

from sailor_exp.slurm.rendezvous import NoRendezvousError, of_this_task
from sailor_exp.sweep.machines import Rendezvous

TASK = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "n[3-4]"}


def scontrol(node: str):
    answers = {"hostnames": "n3\nn4\n", "node": node}
    return lambda command: answers[command[2]]


def test_tasks_meet_at_the_address_of_the_first_node():
    asked = scontrol("NodeName=n3 Arch=x86_64\n   NodeAddr=10.0.0.3 NodeHostName=n3 Version=22.05\n")
    met = of_this_task(TASK, asked)
    assert met == Rendezvous(rank=1, world_size=2, local_rank=0, address="10.0.0.3", port=23456)
    assert met.init_method == "tcp://10.0.0.3:23456"


def test_a_node_without_an_address_is_met_by_its_name():
    assert of_this_task(TASK, scontrol("NodeName=n3\n")).address == "n3"


def test_outside_a_job_there_is_no_rendezvous():
    with pytest.raises(NoRendezvousError, match=r"SLURM_PROCID, SLURM_NTASKS, SLURM_JOB_NODELIST not set\. Start it"):
        of_this_task({"SLURM_JOB_ID": "5"})
