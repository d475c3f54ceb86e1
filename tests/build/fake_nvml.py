"""NVIDIA's management library, as far as we call it: what it says is told."""

UUID = "GPU-1-2-3"


class Library:
    """The loaded library, of one GPU. `mhz`: clocks by type; `reasons`: bits; None: the call fails."""

    def __init__(self, *, mhz=None, reasons=0, old=False):
        self.mhz = {1: 1410, 2: 2619} if mhz is None else mhz
        self.reasons = reasons
        name = "nvmlDeviceGetCurrentClocksThrottleReasons" if old else "nvmlDeviceGetCurrentClocksEventReasons"
        setattr(self, name, lambda handle, value: self._told(value, self.reasons))

    def nvmlInit_v2(self):  # noqa: N802
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):  # noqa: N802
        return 0 if uuid == UUID.encode() else 6

    def nvmlDeviceGetClockInfo(self, handle, kind, value):  # noqa: N802
        return self._told(value, self.mhz.get(kind))

    def nvmlDeviceGetMaxClockInfo(self, handle, kind, value):  # noqa: N802
        return self._told(value, 1980)

    @staticmethod
    def _told(value, number):
        if number is None:
            return 3
        value._obj.value = number
        return 0


def install(monkeypatch, library):
    """Let the library be loaded; None: there is none."""

    def load(name):
        assert name == "libnvidia-ml.so.1"
        if library is None:
            raise OSError(name)
        return library

    monkeypatch.setattr("sailor_exp.instruments.nvml.ctypes.CDLL", load)
