"""The clocks of this rank's device while it works.

A rank looks when it has given its device the work of a step and begins to wait for it. A process has one device, so the
watch is one of the process, as the current device of torch.cuda is.
"""

import time
from collections import deque

import torch

from sailor_exp.instruments.nvml import Gpu
from sailor_exp.records.provenance import ClockReading, LoadReadings

LOOK_EVERY_S = 0.1
KEPT = 8
"""Number of last readings that a record has."""


class LoadWatch:
    """The last readings of a GPU under load; None for a device without readings."""

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        self._queued: deque[ClockReading] = deque(maxlen=KEPT)
        self._looked_at = -LOOK_EVERY_S

    def look(self) -> None:
        """Read the clocks, unless that was done just now. Call it while the device has work."""
        if self._gpu is not None and time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._queued.append(self._gpu.reading())
            self._looked_at = time.monotonic()

    def taken(self) -> LoadReadings | None:
        """Return the last readings, and another one of now; then forget them, for the next cell."""
        if self._gpu is None:
            return None
        queued = list(self._queued)
        self._queued.clear()
        return LoadReadings(sm_max_mhz=self._gpu.highest_sm_mhz(), queued=queued, end=self._gpu.reading())


_of_this_process = LoadWatch(None)


def watch(device: torch.device) -> LoadWatch:
    """Return the watch of a device, and make it that of this process."""
    global _of_this_process  # noqa: PLW0603
    _of_this_process = LoadWatch(_gpu(device))
    return _of_this_process


def look() -> None:
    """Read the clocks of the watched device, if there is one."""
    _of_this_process.look()


def _gpu(device: torch.device) -> Gpu | None:
    if device.type != "cuda":
        return None
    try:
        return Gpu(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except OSError:
        return None
