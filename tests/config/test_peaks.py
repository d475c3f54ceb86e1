import pytest

from sailor_exp.command_line import CONF
from sailor_exp.config.peaks import PEAKS, peak_of
from tests.build.cells import cell

WITHOUT = {"CPU", "H20"}
"""A CPU has no peak that its name gives, and NVIDIA has no public data sheet of the H20."""

NAMES = {cell(f"gpu={path.stem}").gpu.name for path in (CONF / "gpu").glob("*.yaml")}


def test_every_kind_of_gpu_has_a_peak_or_is_known_to_have_none() -> None:
    assert set(PEAKS) == NAMES - WITHOUT


@pytest.mark.parametrize("name", sorted(PEAKS))
def test_a_peak_names_its_source_and_rises_from_fp32_to_bf16(name: str) -> None:
    peak = PEAKS[name]
    assert peak.source
    rates = [peak.flops_per_s[precision] for precision in ("fp32", "tf32", "bf16") if precision in peak.flops_per_s]
    assert rates == sorted(rates)
    assert 1e12 < rates[0] < 1e15, "a rate per second, not in TFLOP/s"
    assert 1e11 < peak.bytes_per_s < 1e13


def test_a_precision_that_a_gpu_does_not_have_is_absent() -> None:
    assert set(PEAKS["V100-16"].flops_per_s) == {"fp32"}
    assert set(PEAKS["A100-40"].flops_per_s) == {"fp32", "tf32", "bf16"}


def test_a_kind_of_ones_own_and_a_cpu_with_the_name_of_a_gpu_have_no_peak() -> None:
    assert peak_of("A100-40", "cuda").flops_per_s["fp32"] == 19.5e12
    assert peak_of("A100-40", "cpu") is None
    assert peak_of("CPU", "cpu") is None
    assert peak_of("A30-24", "cuda") is None
