"""The kind of GPU of this machine: what `gpu=auto` stands for.

A login node runs this, so the driver is asked through `nvidia-smi`, not through torch.
"""

import math
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sailor_exp.config.schema import Backend, Device
from sailor_exp.errors import GpuHereError

_CPU = "cpu"
_FIELDS = ("index", "uuid", "name", "memory.total", "mig.mode.current")
_TIMEOUT_S = 30
_NO_DEVICE = "No devices were found"
_NOT_KNOWN = "[N/A]"
_NONE_FROM_HERE = ("", "-1", "NoDevFiles")
"""Entries of CUDA_VISIBLE_DEVICES after which CUDA sees no device; the last is SLURM's for a job without GPUs."""

_SLICED = "A slice needs a kind of its own, with its memory and device_name."
_BRANDS = re.compile(r"\b(NVIDIA|GeForce|Tesla)\b")


@dataclass(frozen=True, kw_only=True)
class KindHere:
    """The choice in the group `gpu` for this machine. `made`: its configuration where no file has one."""

    choice: str
    found: str
    made: dict[str, Any] | None = None


def kind_here(directories: Sequence[Path]) -> KindHere:
    """Return the kind of the GPUs that CUDA sees on this machine.

    directories: those of the configured kinds (conf/gpu), as Hydra searches them. The kind is the one whose pattern
    fits the driver's name; where none fits, one is made, with the memory in 2^30 bytes, rounded up.
    Raises GpuHereError where the machine, CUDA_VISIBLE_DEVICES or the configured kinds leave no single answer.
    """
    gpus = _visible_gpus()
    if not gpus:
        return KindHere(choice=_CPU, found="no GPU that CUDA sees")
    gpu = _one_kind(gpus)
    kinds = _configured(directories)
    fitting = [kind.choice for kind in kinds if kind.fits(gpu.name)]
    if len(fitting) > 1:
        raise GpuHereError(
            f"{gpu.name!r} fits the device_name of gpu={' and gpu='.join(fitting)}. Name one, or narrow a pattern."
        )
    return KindHere(choice=fitting[0], found=gpu.name) if fitting else _made(gpu, kinds)


@dataclass(frozen=True, kw_only=True)
class _Gpu:
    """A GPU as its driver describes it; `memory_mib` is None where the driver gives none."""

    index: str
    uuid: str
    name: str
    memory_mib: int | None
    sliced: bool

    @property
    def memory_gb(self) -> int | None:
        """The memory in 2^30 bytes, rounded up: drivers keep a part, of which the amount changes with their version."""
        return None if self.memory_mib is None else math.ceil(self.memory_mib / 1024)


def _visible_gpus() -> list[_Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves."""
    entries = _entries()
    if entries == []:
        return []
    gpus = _all_gpus()
    return gpus if entries is None else [_named(entry, gpus) for entry in entries]


def _entries() -> list[str] | None:
    """Return the entries of CUDA_VISIBLE_DEVICES that count; None where it is not set."""
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return None
    entries = [entry.strip() for entry in asked.split(",")]
    end = next((place for place, entry in enumerate(entries) if entry in _NONE_FROM_HERE), len(entries))
    return entries[:end]


def _named(entry: str, gpus: Sequence[_Gpu]) -> _Gpu:
    """Return the GPU that an entry of CUDA_VISIBLE_DEVICES names: a number, or the start of a UUID."""
    if entry.startswith("MIG-"):
        raise GpuHereError(f"CUDA_VISIBLE_DEVICES has {entry}, a slice of a GPU. {_SLICED}")
    if entry.isdigit():
        if _differing(gpus) and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            raise GpuHereError(
                f"CUDA_VISIBLE_DEVICES has {entry}, and CUDA numbers different GPUs ({_listed(gpus)}) by speed. "
                "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the kind."
            )
        found = [gpu for gpu in gpus if gpu.index == entry]
    else:
        found = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]
    if len(found) != 1:
        raise GpuHereError(f"CUDA_VISIBLE_DEVICES has {entry}, which names {len(found)} of the {len(gpus)} GPUs here")
    return found[0]


def _one_kind(gpus: Sequence[_Gpu]) -> _Gpu:
    if _differing(gpus):
        raise GpuHereError(
            f"the GPUs here are of different kinds ({_listed(gpus)}). "
            "Leave those of one kind in CUDA_VISIBLE_DEVICES, or name the kind."
        )
    if any(gpu.sliced for gpu in gpus):
        raise GpuHereError(f"MIG is on, and a slice is not a {gpus[0].name}. {_SLICED}")
    return gpus[0]


def _differing(gpus: Iterable[_Gpu]) -> bool:
    return len({(gpu.name, gpu.memory_gb) for gpu in gpus}) > 1


def _listed(gpus: Iterable[_Gpu]) -> str:
    return ", ".join(dict.fromkeys(f"{gpu.name} of {gpu.memory_mib or 'unknown'} MiB" for gpu in gpus))


def _all_gpus() -> list[_Gpu]:
    """Return the GPUs of this machine; none where there is no nvidia-smi, or where it finds no device."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except FileNotFoundError:
        return []
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GpuHereError(f"nvidia-smi cannot be asked ({error}). Name the kind, or gpu=cpu.") from error
    if answer.stdout.strip() == _NO_DEVICE and not answer.stderr.strip():
        return []
    if answer.returncode != 0:
        said = " ".join(f"{answer.stdout} {answer.stderr}".split())
        raise GpuHereError(
            f"nvidia-smi failed with status {answer.returncode} and said {said!r}. Name the kind, or gpu=cpu."
        )
    return [_gpu_of(line) for line in answer.stdout.splitlines() if line.strip()]


def _gpu_of(line: str) -> _Gpu:
    values = [value.strip() for value in line.split(",")]
    if len(values) != len(_FIELDS) or "[" in line.replace(_NOT_KNOWN, ""):
        raise GpuHereError(f"nvidia-smi said {line!r}, not {', '.join(_FIELDS)}. Name the kind.")
    index, uuid, name, memory_mib, mig = values
    memory = int(memory_mib) if memory_mib.isdigit() else None
    return _Gpu(index=index, uuid=uuid, name=name, memory_mib=memory, sliced=mig == "Enabled")


@dataclass(frozen=True, kw_only=True)
class _Configured:
    """A kind of conf/gpu. Without a pattern it fits any device when it is named, and none by itself."""

    choice: str
    name: str
    pattern: re.Pattern[str] | None

    def fits(self, device_name: str) -> bool:
        return self.pattern is not None and self.pattern.search(device_name) is not None


def _configured(directories: Sequence[Path]) -> list[_Configured]:
    """Return the configured kinds. A choice in two directories is that of the first, as for Hydra."""
    paths: dict[str, Path] = {}
    for path in (path for directory in directories for path in sorted(directory.glob("*.yaml"))):
        paths.setdefault(path.stem, path)
    return [_read(path) for path in paths.values()]


def _read(path: Path) -> _Configured:
    """Return the kind of a file by the file's own keys: what its `defaults` would add is not looked at."""
    try:
        kind = OmegaConf.load(path)
        name, pattern = (OmegaConf.select(kind, key) for key in ("name", "device_name"))
        compiled = None if pattern is None else re.compile(str(pattern))
    except (OSError, YAMLError, OmegaConfBaseException, re.error) as error:
        raise GpuHereError(f"{path} describes no kind: {error}") from error
    return _Configured(choice=path.stem, name=str(name), pattern=compiled)


def _made(gpu: _Gpu, kinds: Sequence[_Configured]) -> KindHere:
    """Return a kind that is made of what the driver says. Its name has the memory: cards of one name differ in it."""
    if gpu.memory_gb is None:
        raise GpuHereError(
            f"no kind fits {gpu.name!r}, and its driver gives no memory: add conf/gpu/<name>.yaml for it"
        )
    name = "-".join([*re.findall(r"[A-Za-z0-9.]+", _BRANDS.sub(" ", gpu.name)), str(gpu.memory_gb)])
    taken = [kind.choice for kind in kinds if name.lower() in (kind.choice.lower(), kind.name.lower())]
    if taken:
        raise GpuHereError(
            f"{gpu.name!r} would be {name}, which gpu={taken[0]} is for another device_name. "
            f"Take gpu={taken[0]} with that device_name, or add conf/gpu/<name>.yaml."
        )
    made = {
        "name": name,
        "device": Device.cuda.value,
        "backend": Backend.nccl.value,
        "memory_gb": gpu.memory_gb,
        "device_name": f"^{_escaped(gpu.name)}$",
        "slurm_gres": "gpu:${ranks}",
    }
    return KindHere(choice=name.lower(), found=gpu.name, made=made)


def _escaped(name: str) -> str:
    """Return a pattern of the name alone. Blanks and hyphens stay as they are: people read it."""
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", name)
