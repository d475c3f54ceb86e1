"""Checks inside one process that is the only rank of its group: `python -m tests.gpu.on_device KIND SIZE NAME...`.

A line of JSON for each check is printed as soon as it is done.
"""

import dataclasses
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from tests.gpu.finding import CannotRunError, Finding, ended, judged, shown
from tests.gpu.size import SIZES, Size

MARKER = "finding: "
_WARM_UP = 3
_MARKS = 10_000
_FILLED_CYCLES = 60_000_000
"""About 30 ms of an H100: longer than Python takes to launch a step."""


class Bench:
    """The device, and a chain for each precision, built when a check asks for it."""

    def __init__(self, kind: str, size: Size) -> None:
        import torch

        from sailor_exp.instruments.clock import CudaClock
        from sailor_exp.instruments.device import rank_device
        from sailor_exp.training.process_group import join_group

        self.kind, self.size = kind, size
        self.torch, self.clock = torch, CudaClock()
        asked = self.cell()
        self.device = rank_device(asked, 0)
        join_group(0, asked, f"file://{Path(tempfile.mkdtemp()) / 'rendezvous'}")

    def cell(self, *overrides: str):
        from tests.build.cells import cell

        return cell(f"gpu={self.kind}", *self.size.opt, "tp=1", "mbs=1", *overrides)

    def stepping(self, precision: str) -> Callable:
        """A chain after its warm-up; call it with what `entering` is to be, for one step."""
        from sailor_exp.training.chain import Chain
        from sailor_exp.training.parts import batch_of

        asked = self.cell(f"precision={precision}")
        chain, batch = Chain(asked, self.device, self.clock), batch_of(asked, self.device)
        for _ in range(_WARM_UP):
            chain.step(batch)
        self.torch.cuda.synchronize()
        return lambda entering=lambda phase: None: (chain, chain.step(batch, entering))

    @cached_property
    def square(self):
        return self.torch.randn(self.size.product, self.size.product, device=self.device)

    def product_s(self, left, right) -> float:
        """Seconds of one product, the mean of several by two events."""
        from sailor_exp.instruments.clock import Interval

        out = left.new_empty(left.shape)
        for _ in range(_WARM_UP):
            self.torch.mm(left, right, out=out)
        self.torch.cuda.synchronize()
        start = self.clock.now()
        for _ in range(self.size.products):
            self.torch.mm(left, right, out=out)
        interval = Interval(start, self.clock.now())
        self.clock.wait()
        return self.clock.seconds(interval) / self.size.products

    def tflops(self, left, right) -> float:
        return 2 * self.size.product**3 / self.product_s(left, right) / 1e12


def device(bench: Bench) -> Finding:
    """Which device, driver and libraries."""
    from importlib.metadata import version

    from sailor_exp.instruments.device import facts

    found = facts(bench.device)
    libraries = {name: version(name) for name in ("deepspeed", "megatron-core", "numpy", "pydantic", "hydra-core")}
    capability = ".".join(map(str, bench.torch.cuda.get_device_capability()))
    return shown(
        f"{found.name}, capability {capability}, {(found.memory_bytes or 0) >> 20} MiB, driver {found.driver}, "
        f"CUDA {found.cuda}, NCCL {found.nccl}, Python {sys.version.split()[0]}, torch {bench.torch.__version__}, "
        + ", ".join(f"{name} {number}" for name, number in libraries.items())
    )


def events_against_the_wall(bench: Bench) -> Finding:
    from sailor_exp.instruments.clock import Interval

    bench.product_s(bench.square, bench.square)
    began = time.perf_counter()
    start = bench.clock.now()
    out = bench.torch.empty_like(bench.square)
    for _ in range(bench.size.products):
        bench.torch.mm(bench.square, bench.square, out=out)
    interval = Interval(start, bench.clock.now())
    bench.clock.wait()
    wall_s = time.perf_counter() - began
    error = bench.clock.seconds(interval) / wall_s - 1
    return judged(f"{error:+.2%} of {wall_s * 1e3:.1f} ms", holds=abs(error) <= 0.01)


def cost_of_a_mark(bench: Bench) -> Finding:
    began = time.perf_counter()
    for _ in range(_MARKS):
        bench.clock.now()
    mark_us = (time.perf_counter() - began) / _MARKS * 1e6
    bench.torch.cuda.synchronize()
    return judged(f"{mark_us:.1f} us", holds=mark_us <= 10)


def nothing_waits_in_a_step(bench: Bench) -> Finding:
    step = bench.stepping("fp32")
    with _sync_debug(bench, "error"):
        step()
    return judged("no wait", holds=True)


def waits_in_a_bf16_step(bench: Bench) -> Finding:
    step = bench.stepping("bf16")
    with warnings.catch_warnings(record=True) as caught, _sync_debug(bench, "warn"):
        warnings.simplefilter("always")
        step()
    waits = [str(one.message) for one in caught if "synchronizing CUDA operation" in str(one.message)]
    return judged(f"{len(waits)} waits", holds=len(waits) == 2)


def fp32_rate(bench: Bench) -> Finding:
    rate = bench.tflops(bench.square, bench.square)
    return judged(f"{rate:.1f} TFLOP/s", holds=rate < 80)


def tf32_rate(bench: Bench) -> Finding:
    matmul = bench.torch.backends.cuda.matmul
    fp32 = bench.tflops(bench.square, bench.square)
    matmul.allow_tf32 = True
    try:
        tf32 = bench.tflops(bench.square, bench.square)
    finally:
        matmul.allow_tf32 = False
    return judged(f"{tf32:.0f} against {fp32:.1f} TFLOP/s", holds=tf32 > 2 * fp32)


def operands_of_the_calibration(bench: Bench) -> Finding:
    random = bench.square.to(bench.torch.bfloat16)
    ones = bench.torch.ones_like(random)
    return shown(f"bf16: ones {bench.tflops(ones, ones):.0f}, random {bench.tflops(random, random):.0f} TFLOP/s")


def marks_against_the_profiler(bench: Bench) -> Finding:
    """On a filled queue, so that the device has no gaps: the time between marks is that of the kernels in between."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile, record_function, supported_activities

    if ProfilerActivity.CUDA not in supported_activities():
        raise CannotRunError("the profiler of this torch sees no kernels")
    step = bench.stepping("fp32")
    ranges: list = []

    def entering(phase: str) -> None:
        while ranges:
            ranges.pop().__exit__(None, None, None)
        if phase.startswith("forward"):
            ranges.append(record_function(phase))
            ranges[-1].__enter__()

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        bench.torch.cuda._sleep(_FILLED_CYCLES)
        chain, intervals = step(entering)
        bench.torch.cuda.synchronize()
    # A range also stands in the list as an annotation of the device, with the gaps between its kernels.
    on_host = [event for event in profiler.key_averages() if event.device_type == DeviceType.CPU]
    kernels_s = {event.key: event.device_time_total / 1e6 for event in on_host}
    told, holds = [], True
    for name, part in zip(chain.names, intervals.parts, strict=True):
        marked_s, kernel_s = bench.clock.seconds(part.forward), kernels_s[f"forward {name}"]
        told.append(f"{name} {kernel_s * 1e6:.0f} of {marked_s * 1e6:.0f} us")
        holds = holds and abs(marked_s - kernel_s) <= max(0.03 * marked_s, 10e-6)
    return judged("kernels " + ", ".join(told), holds=holds)


def parts_on_a_filled_queue(bench: Bench) -> Finding:
    changes = {}
    for precision in ("fp32", "bf16"):
        step = bench.stepping(precision)
        ordinary, filled = _forwards_s(bench, step, 0), _forwards_s(bench, step, _FILLED_CYCLES)
        changes |= {f"{precision} {name}": filled[name] / ordinary[name] - 1 for name in ordinary}
    return shown(_signed(changes))


def _forwards_s(bench: Bench, step: Callable, cycles: int) -> dict[str, float]:
    """Median of each part's forward and backward, in seconds; `cycles`: what the device has to do first."""
    taken: dict[str, list[float]] = {}
    for _ in range(10):
        bench.torch.cuda.synchronize()
        if cycles:
            bench.torch.cuda._sleep(cycles)
        chain, intervals = step()
        bench.clock.wait()
        for name, part in zip(chain.names, intervals.parts, strict=True):
            taken.setdefault(f"forward {name}", []).append(bench.clock.seconds(part.forward))
            taken.setdefault(f"backward {name}", []).append(bench.clock.seconds(part.backward))
    return {name: statistics.median(values) for name, values in taken.items()}


def _signed(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {error:+.1%}" for name, error in errors.items())


@contextmanager
def _sync_debug(bench: Bench, mode: str) -> Iterator[None]:
    bench.torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        bench.torch.cuda.set_sync_debug_mode("default")


CHECKS = {
    check.__name__: check
    for check in (
        device,
        events_against_the_wall,
        cost_of_a_mark,
        nothing_waits_in_a_step,
        waits_in_a_bf16_step,
        fp32_rate,
        tf32_rate,
        operands_of_the_calibration,
        marks_against_the_profiler,
        parts_on_a_filled_queue,
    )
}


def main(kind: str, size: str, names: list[str]) -> None:
    """Run checks one after another in this process."""
    bench = Bench(kind, SIZES[size])
    for name in names:
        try:
            finding = CHECKS[name](bench)
        except Exception as error:  # noqa: BLE001
            finding = ended(error)
        print(MARKER + json.dumps({"name": name, **dataclasses.asdict(finding)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
