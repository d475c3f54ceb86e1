"""Gives a GPU something to do before a step, so that the step starts on a queue like that of a training step.

Ranks wait for the device between steps, so a step would start on an empty queue, and its first parts would take as long
as their launches. In training that holds for the first microbatch at most. While a microbatch runs, the host gets ahead
by what the device needs longer than its launches: device - launch. A later microbatch starts with that much queued.
"""

from collections import deque
from statistics import median

import torch

from sailor_exp.config.schema import Device
from sailor_exp.instruments.clock import Clock, Interval
from sailor_exp.instruments.sampling import Agreement

_TRIAL_CYCLES = 2_000_000
_REMEMBERED = 5


class QueueFiller:
    """Lets the device spin for as long as a former microbatch would keep it busy after its last launch.

    No longer than the launches of a microbatch take: then all of it is launched before it starts.
    """

    def __init__(self, clock: Clock, agreement: Agreement) -> None:
        self._agreement = agreement
        self._microbatches: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._spin(clock, _TRIAL_CYCLES)
        self._cycles_per_s = _TRIAL_CYCLES / self._spin(clock, _TRIAL_CYCLES)

    def fill(self) -> float:
        """Queue the spinning; return its seconds. All ranks must call this at once, and spin as long."""
        (ahead_s,) = self._agreement.maximum([self._ahead_s()])
        if ahead_s > 0:
            torch.cuda._sleep(int(ahead_s * self._cycles_per_s))  # type: ignore[no-untyped-call]  # noqa: SLF001
        return ahead_s

    def ran(self, *, device_s: float, launch_s: float) -> None:
        """Note how long the forward and backward of a microbatch took, and how long the host launched them."""
        self._microbatches.append((device_s, launch_s))

    def _ahead_s(self) -> float:
        """Return how far the host gets ahead in a microbatch, by the median of the last ones."""
        if not self._microbatches:
            return 0.0
        device_s = median(seconds for seconds, _ in self._microbatches)
        launch_s = median(seconds for _, seconds in self._microbatches)
        return min(max(0.0, device_s - launch_s), launch_s)

    @staticmethod
    def _spin(clock: Clock, cycles: int) -> float:
        start = clock.now()
        torch.cuda._sleep(cycles)  # type: ignore[no-untyped-call]  # noqa: SLF001
        interval = Interval(start, clock.now())
        clock.wait()
        return clock.seconds(interval)


def filler_for(device: Device, clock: Clock, agreement: Agreement) -> QueueFiller | None:
    """Return the filler of a kind of device; None for a CPU, which has no queue."""
    return QueueFiller(clock, agreement) if device is Device.cuda else None
