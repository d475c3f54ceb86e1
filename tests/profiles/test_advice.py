import pytest

from sailor_exp.profiles.advice import advice_of
from tests.build.cells import gather_config


def test_a_tp_beyond_the_vm_is_advised_with_a_vm_that_has_it() -> None:
    advice = advice_of(gather_config("model=opt-350", "gpu=a100-40", "vm='1'"))
    assert advice.measure([(8, 2), (1, 2)]) == "python launch.py -m model=opt-350 gpu=a100-40 vm=8 tp=1,8 mbs=2"


def test_what_was_measured_otherwise_than_usual_is_advised_so() -> None:
    advice = advice_of(gather_config("precision=bf16", "attention=sdpa"))
    assert advice.measure([(1, 1)]).endswith("vm=4 tp=1 mbs=1 precision=bf16 attention=sdpa")
    assert advice.gather() == "python gather.py model=gpt-tiny gpu=cpu precision=bf16 attention=sdpa"
    tf32 = advice_of(gather_config("gpu=a100-40", "precision=tf32"))
    assert tf32.gather() == "python gather.py model=gpt-tiny gpu=a100-40 precision=tf32"


def test_network_and_overlap_are_measured_of_a_gpu_and_gathered_by_it() -> None:
    advice = advice_of(gather_config("gpu=a100-40"))
    gathered = " && python gather.py gpu=a100-40 exporter=network"
    intra = "python launch.py -m profile=network gpu=a100-40 vm=4 ranks=2,4"
    inter = "python launch.py -m profile=network gpu=a100-40 vm=4 nodes=2 ranks=1,2,4 hydra/launcher=slurm"
    overlap = "python launch.py -m profile=overlap gpu=a100-40 vm=4 ranks=2,4"
    assert advice.profile("network") == advice.fit("intra") == intra + gathered
    assert advice.fit("inter") == inter + gathered
    assert advice.profile("overlap") == overlap + gathered
    assert advice.links() == [inter, intra, overlap]


def test_a_profile_is_advised_with_the_cells_that_its_planner_needs() -> None:
    advice = advice_of(gather_config("gpu=a100-40", "precision=bf16"))
    about = "model=gpt-tiny gpu=a100-40 vm=4"
    assert advice.profile("varuna") == f"python launch.py -m profile=varuna {about} tp=4 mbs=1,2,4,8 precision=bf16"
    assert advice.profile("oobleck") == f"python launch.py -m profile=oobleck {about} tp=1 precision=bf16"
    assert advice.profile("galvatron").endswith(f"profile=galvatron {about} pp=1,2,4 tp=1,2,4 precision=bf16")
    assert advice_of(gather_config("vm='1'")).profile("galvatron").endswith("vm=2 pp=1,2 tp=1")


def test_a_cpu_stands_for_two_machines_and_one_gpu_has_nothing_inside() -> None:
    advice = advice_of(gather_config("vm='1'"))
    assert advice.links() == ["python launch.py -m profile=network gpu=cpu vm=1 nodes=2 ranks=1"]
    assert advice.overlap() == "python launch.py -m profile=overlap gpu=cpu vm=2 ranks=2"
    assert advice.link("intra") == "python launch.py -m profile=network gpu=cpu vm=2 ranks=2"


@pytest.mark.parametrize(
    ("running", "launch", "gather"),
    [
        ("gather.py", "python launch.py -m ", "python gather.py "),
        ("/environment/bin/sailor-exp-gather", "sailor-exp-launch -m ", "sailor-exp-gather "),
    ],
)
def test_commands_are_advised_as_the_running_one_was_started(monkeypatch, running, launch, gather) -> None:
    monkeypatch.setattr("sys.argv", [running])
    advice = advice_of(gather_config())
    assert advice.gather().startswith(gather)
    assert f" && {gather}" in advice.fit("intra")
    for command in (advice.measure([(1, 1)]), advice.profile("varuna"), advice.link("intra"), advice.overlap()):
        assert command.startswith(launch)
