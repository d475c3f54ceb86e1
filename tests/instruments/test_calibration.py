"""The calibration kernel. That of CUDA runs on a CPU here: products are told how long they take."""

import pytest
import torch

from sailor_exp.instruments import calibration
from sailor_exp.instruments.calibration import calibration_for
from sailor_exp.instruments.clock import CpuClock
from sailor_exp.records.calibration import CalibrationKernel
from tests.build.cells import cell
from tests.build.fake_instruments import Alone, ToldClock

DEVICE = torch.device("cpu")


class Gpu:
    """Products of a told length, which the clock and the host's time follow; keeps what is done in order."""

    def __init__(self, monkeypatch, one_s):
        self.clock = ToldClock()
        self.done = []
        self.operands = ()

        def mm(left, right, out):
            self.operands = left, right, out
            self.clock.now_s += one_s
            self.done.append("product")

        monkeypatch.setattr(calibration, "SIZES", dict.fromkeys(calibration.SIZES, 16))
        monkeypatch.setattr(calibration.torch, "mm", mm)
        monkeypatch.setattr(calibration.time, "monotonic", lambda: self.clock.now_s)
        self.clock.now = self._marked

    def _marked(self):
        self.done.append("mark")
        return self.clock.now_s

    def calibration(self, *overrides, agreement=None):
        return calibration_for(cell("gpu=a100-40", *overrides), DEVICE, self.clock, agreement or Alone())


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_cuda_multiplies_random_numbers_in_the_cells_precision(monkeypatch, precision, dtype):
    gpu = Gpu(monkeypatch, one_s=7e-4)
    made = gpu.calibration(f"precision={precision}")
    assert [operand.dtype for operand in gpu.operands] == [dtype] * 3
    left, right, product = gpu.operands
    assert len(left.unique()) > 100
    assert not torch.equal(left, right)
    assert made.bytes == left.nbytes + right.nbytes + product.nbytes
    gpu.calibration(f"precision={precision}")
    assert torch.equal(gpu.operands[0], left), "every rank multiplies the same"
    assert made.kernel == CalibrationKernel(dtype=str(dtype).removeprefix("torch."), size=16, repeats=5)


@pytest.mark.parametrize("one_s", [2e-5, 1e-4, 3.4e-4, 1e-3, 1.4e-3, 2e-3, 2.9e-3, 4.9e-3])
def test_a_sample_takes_two_to_five_milliseconds_and_is_the_second_of_two(monkeypatch, one_s):
    gpu = Gpu(monkeypatch, one_s)
    made = gpu.calibration()
    gpu.done.clear()
    interval = made.run()
    products = ["product"] * made.kernel.repeats
    assert gpu.done == [*products, "mark", *products, "mark"]
    assert 0.002 <= interval.stop - interval.start <= 0.005
    assert made.seconds(interval) == pytest.approx(one_s)


def test_a_product_that_takes_longer_runs_once(monkeypatch):
    assert Gpu(monkeypatch, one_s=0.02).calibration().kernel.repeats == 1


def test_all_ranks_run_as_many_products_as_the_slowest(monkeypatch):
    class WithASlowerPeer:
        def maximum(self, values):
            return [2 * value for value in values]

    assert Gpu(monkeypatch, one_s=3.5e-4).calibration(agreement=WithASlowerPeer()).kernel.repeats == 5


def test_the_clocks_have_risen_before_a_product_is_timed(monkeypatch):
    gpu = Gpu(monkeypatch, one_s=1e-3)
    gpu.calibration()
    assert gpu.done.count("product") >= 200


def test_a_cpu_multiplies_ones_once_as_before():
    made = calibration_for(cell(), DEVICE, CpuClock(), Alone())
    assert made.kernel is None
    assert made.bytes == 3 * 256 * 256 * 4
    assert made.seconds(made.run()) > 0
    assert set(made._product.unique().tolist()) == {256.0}
