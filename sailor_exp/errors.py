"""What a user, a file or a cluster can cause. Each error owns its message and the fields behind it."""

from collections.abc import Sequence
from pathlib import Path


class SailorExpError(Exception):
    """Base of every error that is told to the user as one message, without a traceback."""


class ConfigurationError(SailorExpError):
    """Faults of a configuration, all of them, found before anything started."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        lines = [f"  - {fault}" for fault in self.faults]
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{count} in the configuration; nothing was started:", *lines]))


class RecordError(SailorExpError):
    """A record that cannot be read: damaged, foreign, or of an unknown version. It is left as it is."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(f"{path}: {fault}")


class DeviceMismatchError(SailorExpError):
    """The device found is not of the kind that the results would be filed under."""

    def __init__(self, *, asked: str, pattern: str, found: str) -> None:
        self.asked = asked
        self.pattern = pattern
        self.found = found
        super().__init__(
            f"gpu={asked} expects a device whose name matches {pattern!r}; found {found!r}. "
            "Choose the gpu of this device, or set gpu.device_name if this is that kind."
        )


class StorageError(SailorExpError):
    """A result could not be written; what was there before is untouched."""

    def __init__(self, path: Path, reason: OSError) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"cannot write {path}: {reason.strerror or reason}")


class NoSamplesError(SailorExpError):
    """A statistic was asked of no samples."""
