from sailor_exp.advice import advice_of
from tests.cells import gather_config


def test_a_tp_beyond_the_vm_is_advised_with_a_vm_that_has_it() -> None:
    advice = advice_of(gather_config("model=opt-350", "gpu=a100-40", "vm='1'"))
    assert advice.measure([(8, 2), (1, 2)]) == "python launch.py -m model=opt-350 gpu=a100-40 vm=8 tp=1,8 mbs=2"


def test_what_was_measured_otherwise_than_usual_is_advised_so() -> None:
    advice = advice_of(gather_config("precision=bf16", "attention=sdpa"))
    assert advice.measure([(1, 1)]).endswith("vm=4 tp=1 mbs=1 precision=bf16 attention=sdpa")
    assert advice.gather() == "python gather.py model=gpt-tiny gpu=cpu precision=bf16 attention=sdpa"


def test_network_and_overlap_are_measured_of_a_gpu() -> None:
    advice = advice_of(gather_config("gpu=a100-40"))
    assert advice.profile("network") == "python launch.py profile=network gpu=a100-40 vm=4"
    assert advice.profile("varuna") == "python launch.py profile=varuna model=gpt-tiny gpu=a100-40 vm=4"
