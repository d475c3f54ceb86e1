"""Clocks of a GPU and why they are low, from NVIDIA's management library. It is part of the driver.

Source: nvml.h of CUDA 13, nvmlClockType_t and nvmlClocksEventReasons. All calls return 0 for success.
"""

import ctypes
from typing import Any

from sailor_exp.records.provenance import ClockReading

_LIBRARY = "libnvidia-ml.so.1"
_SM, _MEMORY = 1, 2

REASONS = (
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
)
"""Names of the reasons, by rising bit."""


class Gpu:
    """One GPU in the management library. Raises OSError where the library or the GPU is not there."""

    def __init__(self, uuid: str) -> None:
        self._nvml = ctypes.CDLL(_LIBRARY)
        self._handle = ctypes.c_void_p()
        if self._nvml.nvmlInit_v2() or self._nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(self._handle)):
            raise OSError(f"{_LIBRARY} knows no {uuid}")

    def highest_sm_mhz(self) -> int | None:
        """Return the highest clock of the multiprocessors."""
        return self._number(self._nvml.nvmlDeviceGetMaxClockInfo, ctypes.c_uint(), _SM)

    def reading(self) -> ClockReading:
        """Return what the clocks are at this moment. It takes less than a millisecond, and waits for nothing."""
        reasons = self._number(self._reasons_call(), ctypes.c_ulonglong())
        return ClockReading(
            sm_mhz=self._number(self._nvml.nvmlDeviceGetClockInfo, ctypes.c_uint(), _SM),
            memory_mhz=self._number(self._nvml.nvmlDeviceGetClockInfo, ctypes.c_uint(), _MEMORY),
            reasons=None if reasons is None else [name for bit, name in enumerate(REASONS) if reasons >> bit & 1],
        )

    def _reasons_call(self) -> Any:
        """Return the call for the reasons, which had another name before driver 535."""
        try:
            return self._nvml.nvmlDeviceGetCurrentClocksEventReasons
        except AttributeError:
            return self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons

    def _number(self, call: Any, value: Any, *arguments: int) -> int | None:
        failed = call(self._handle, *arguments, ctypes.byref(value))
        return None if failed else int(value.value)
