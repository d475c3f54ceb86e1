"""Errors that a user, a file or a cluster can cause. Each error builds its message from its fields."""

from collections.abc import Sequence
from pathlib import Path


class SailorExpError(Exception):
    """Base of every error that the user sees as one message, without a traceback."""


class ConfigurationError(SailorExpError):
    """All faults of a configuration, reported before anything starts."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        lines = [f"  - {fault}" for fault in self.faults]
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join([f"{count} in the configuration; nothing was started:", *lines]))


class RecordError(SailorExpError):
    """A record cannot be read: it is damaged, foreign, or of an unknown version. Its file is left as it is."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(f"{path}: {fault}")


class DeviceMismatchError(SailorExpError):
    """The device is of another kind than the one under which its results would be stored."""

    def __init__(self, *, asked: str, pattern: str, found: str) -> None:
        self.asked = asked
        self.pattern = pattern
        self.found = found
        super().__init__(
            f"gpu={asked} expects a device whose name matches {pattern!r}; found {found!r}. "
            "Choose the gpu of this device, or set gpu.device_name if this is that kind."
        )


class UnfitDeviceError(SailorExpError):
    """The device is called as the configured GPU is, and its numbers would not be those of that GPU."""

    def __init__(self, *, asked: str, found: str, faults: Sequence[str]) -> None:
        self.asked = asked
        self.found = found
        self.faults = tuple(faults)
        super().__init__(f"gpu={asked} cannot be measured on {found!r} here: {' '.join(faults)}")


class GpuHereError(SailorExpError):
    """`gpu=auto` stands for no single kind."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(f"gpu=auto: {fault}")


class NoTensorFloat32Error(SailorExpError):
    """The device has no TF32 tensor cores, so its results would be those of fp32."""

    def __init__(self, *, found: str, capability: tuple[int, int]) -> None:
        self.capability = capability
        super().__init__(
            f"precision=tf32 needs compute capability 8.0 or higher; {found} has {capability[0]}.{capability[1]}. "
            "Choose precision=fp32."
        )


class TooFewDevicesError(SailorExpError):
    """There are fewer devices than ranks."""

    def __init__(self, *, asked: int, visible: int) -> None:
        self.asked = asked
        self.visible = visible
        super().__init__(
            f"{asked} ranks need {asked} CUDA devices; {visible} are visible. Lower tp or ranks, or run where they are."
        )


class RefusedError(SailorExpError):
    """The machine does not fit the configuration: no cell can be measured on it."""


class InheritedCudaError(SailorExpError):
    """A library called CUDA when the fork server imported it, so no process forked from the server can use CUDA."""

    def __init__(self) -> None:
        super().__init__(
            "a library called CUDA when it was imported, before the rank was forked: ranks are started afresh, and "
            "import for themselves. An older deepspeed, Transformer Engine or Apex may be what probes the GPU."
        )


class UpdateSkippedError(SailorExpError):
    """DeepSpeed skipped an update, so there is no time to measure."""

    def __init__(self) -> None:
        super().__init__("a gradient was not finite, and DeepSpeed skipped the update")


class RankStartError(SailorExpError):
    """The server that forks the ranks did not start."""

    def __init__(self, reason: BaseException) -> None:
        self.reason = reason
        super().__init__(
            f"ranks cannot be started ({reason!r}): a library may not load. "
            "Try: python -c 'import sailor_exp.sweep.rank_process'"
        )


class RankHangsError(SailorExpError):
    """A rank that was killed does not end: it hangs in the driver, and its device stays taken."""

    def __init__(self, rank: int, *, process_id: int | None, waited_s: float) -> None:
        self.rank = rank
        self.process_id = process_id
        super().__init__(
            f"rank {rank} (process {process_id}) did not end within {waited_s:g} s of SIGKILL: it hangs in the driver, "
            "and its device and memory stay taken. `dmesg` may say why (NVRM: Xid). Reset the device, or start the "
            "machine again; then the same command goes on."
        )


class StorageError(SailorExpError):
    """A result could not be written; the former file is unchanged."""

    def __init__(self, path: Path, reason: OSError) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"cannot write {path}: {reason.strerror or reason}")


class NoSamplesError(SailorExpError):
    """A statistic needs samples, and there are none."""


class DamagedFileError(SailorExpError):
    """A JSON file is damaged or foreign. It is left as it is."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(f"{path}: {fault}. It is left as it is: mend it or move it away, and run this again.")


class NothingMeasuredError(SailorExpError):
    """A profile directory holds no cell of the model and GPU."""

    def __init__(self, profile_dir: Path, *, model: str, gpu: str, command: str) -> None:
        self.profile_dir = profile_dir
        super().__init__(
            f"{profile_dir} holds neither records nor profile files of {model} on {gpu}. "
            f"Measure them with `{command}`, or name the directory that has them with profile_dir=..."
        )


class NoLinkMeasuredError(SailorExpError):
    """A network directory holds no number of the GPU."""

    def __init__(self, network_dir: Path, *, gpu: str, command: str) -> None:
        self.network_dir = network_dir
        super().__init__(
            f"{network_dir} holds no numbers of profile=network or profile=overlap on {gpu}. "
            f"Measure them with `{command}`, or name the directory that has them with network_dir=..."
        )


class MixedRecordsError(SailorExpError):
    """Records must not stand in one table: some were measured with another setting than the one asked for."""

    def __init__(self, path: Path, *, key: str, asked: object, found: object, agreeing: Path | None) -> None:
        self.path = path
        self.key = key
        self.asked = asked
        self.found = found
        others = f", which {agreeing.name} has" if agreeing else ""
        super().__init__(
            f"{path} was measured with {key}={found}; asked for is {key}={asked}{others}. They must not stand in one "
            f"table. Ask for {key}={found}, or keep the two in directories of their own (profile_dir=...)."
        )


class MixedShapesError(SailorExpError):
    """Parameters under one model name are of two models."""

    def __init__(self, found: str, other: str) -> None:
        self.fault = f"{found}; {other}"
        super().__init__(
            f"{found}; {other}. These are two models under one name, which every reader would mix. Set model.* to what "
            "was measured, or keep each in its own export_root, or under its own model.name."
        )


class UnfitDegreeError(SailorExpError):
    """A tensor parallel degree that the user says does not fit into memory cannot be exported as such."""

    def __init__(self, tp: int, reason: str) -> None:
        self.tp = tp
        super().__init__(f"exporter.infinite_tps names tp={tp}, {reason}.")


class LayerIdsError(SailorExpError):
    """The layer ids of a file are not those of the model."""

    def __init__(self, path: Path, *, place: str, fault: str, expected: int, num_layers: int) -> None:
        self.path = path
        self.place = place
        self.fault = f"{place} has {fault}; the configured model has {expected}"
        self.expected = expected
        super().__init__(
            f"{path}: {place} has {fault}; the configured model has {expected}, 0 to {expected - 1}: "
            f"model.num_layers={num_layers} and what stands around the layers. "
            "Measure that cell again, or set model.num_layers and model.separate_final_norm to what was measured."
        )


class MissingCellError(SailorExpError):
    """The gathered database lacks cells that a planner needs."""

    def __init__(self, path: Path, *, cells: Sequence[str], reason: str, command: str) -> None:
        self.path = path
        self.cells = tuple(cells)
        self.command = command
        super().__init__(f"{path} lacks {', '.join(self.cells)}: {reason}. Measure with `{command}`, then gather.")


class MissingInputError(SailorExpError):
    """An input that an exporter needs besides the gathered database is missing."""

    def __init__(self, path: Path, *, what: str, command: str, key: str) -> None:
        self.path = path
        self.what = what
        self.command = command
        super().__init__(f"{path}: {what} is not there. `{command}` makes it; {key}=... names another file.")


class UnknownZoneError(SailorExpError):
    """A bandwidth file has zones, and not the one that was named; nothing was written."""

    def __init__(self, path: Path, *, zone: str, zones: Sequence[str]) -> None:
        self.path = path
        self.zone = zone
        super().__init__(
            f"{path} has no zone {zone}; it has {', '.join(zones)}; nothing was written. Name one of them with "
            "exporter.zone=..., or add yours with exporter.new_zone=true."
        )


class NotACheckoutError(SailorExpError):
    """The export root was taken for a checkout of Sailor, and is none; nothing was written."""

    def __init__(self, path: Path, fault: str) -> None:
        self.path = path
        self.fault = fault
        super().__init__(
            f"{path} {fault}; nothing was written. Name with export_root=... a checkout of Sailor, or a directory for "
            "the files alone."
        )


class FitError(SailorExpError):
    """A bandwidth fit gives no time for a message."""

    def __init__(self, fit: str, *, message_bytes: float, gigabytes_per_s: float) -> None:
        self.fit = fit
        self.message_bytes = message_bytes
        super().__init__(
            f"the {fit} gives {gigabytes_per_s:.3g} GB/s for a message of {message_bytes:.0f} bytes: "
            "no time follows from it. Fit it again, over messages of that size."
        )


class TooFewSizesError(SailorExpError):
    """A link was measured at fewer sizes than a fit needs."""

    def __init__(self, link: str, *, sizes: Sequence[int], needed: int) -> None:
        self.link = link
        self.sizes = tuple(sizes)
        super().__init__(
            f"the {link} has {len(self.sizes)} sizes; a fit needs {needed}. Measure it again with a larger "
            "profile.most_bytes or sampling.budget_s."
        )


class LockError(SailorExpError):
    """A lock could not be taken; nothing was written."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"cannot lock {path}: {reason}; nothing was written")


class MissingPackageError(SailorExpError):
    """A format needs a package that is not installed."""

    def __init__(self, *, asked: str, package: str, extra: str) -> None:
        self.package = package
        super().__init__(f"{asked} needs {package}, which is not installed: pip install 'sailor-exp[{extra}]'")
