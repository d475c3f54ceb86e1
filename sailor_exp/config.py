"""What a user configures: the schemas that Hydra composes into, and the typed cell that the rest works on.

`register()` puts the schemas into Hydra's ConfigStore; `cell_from` converts a composed configuration once,
at the entry point. `faults` and `infeasibility` judge a cell without starting anything.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf


class Precision(StrEnum):
    """Type of parameters and activations; bf16 keeps fp32 master weights and fp32 gradients."""

    fp32 = "fp32"
    bf16 = "bf16"


class Optimizer(StrEnum):
    """The update rule."""

    adam = "adam"
    sgd = "sgd"


class Attention(StrEnum):
    """The kernel between the query/key/value and the output projection."""

    unfused = "unfused"
    sdpa = "sdpa"


class PositionEmbedding(StrEnum):
    """Megatron's `position_embedding_type`."""

    learned_absolute = "learned_absolute"
    rope = "rope"


class Normalization(StrEnum):
    """Megatron's `normalization`."""

    LayerNorm = "LayerNorm"
    RMSNorm = "RMSNorm"


class Activation(StrEnum):
    """Activation of the feed-forward network; swiglu is gated, with two projections up."""

    relu = "relu"
    gelu = "gelu"
    swiglu = "swiglu"


class Device(StrEnum):
    """Where a rank computes."""

    cuda = "cuda"
    cpu = "cpu"


class Backend(StrEnum):
    """How ranks talk."""

    nccl = "nccl"
    gloo = "gloo"


class Action(StrEnum):
    """What to do with the grid: measure it, show how far it is, or take back what is queued and running."""

    launch = "launch"
    status = "status"
    cancel = "cancel"


@dataclass(kw_only=True)
class ModelConfig:
    """An architecture, in Megatron's own names. `name` is what planners key on."""

    name: str = MISSING
    num_layers: int = MISSING
    hidden_size: int = MISSING
    num_attention_heads: int = MISSING
    num_query_groups: int = "${.num_attention_heads}"  # type: ignore[assignment]
    ffn_hidden_size: int = MISSING
    seq_length: int = MISSING
    max_position_embeddings: int = MISSING
    vocab_size: int = MISSING
    make_vocab_size_divisible_by: int = 128
    position_embedding_type: PositionEmbedding = PositionEmbedding.learned_absolute
    rotary_base: int = 10000
    normalization: Normalization = Normalization.LayerNorm
    activation: Activation = Activation.gelu
    add_bias_linear: bool = True
    window_size: int | None = None
    window_attn_skip_freq: list[int] | None = None
    separate_final_norm: bool = False
    untie_embeddings_and_output_weights: bool = False


@dataclass(kw_only=True)
class GpuConfig:
    """A kind of device. `memory_gb` counts 2^30 bytes per device."""

    name: str = MISSING
    device: Device = MISSING
    backend: Backend = MISSING
    memory_gb: float = MISSING
    device_name: str | None = None
    slurm_gres: str | None = None


@dataclass(kw_only=True)
class VmConfig:
    """A machine; `gpus` bounds the tensor parallel degree."""

    gpus: int = MISSING


@dataclass(kw_only=True)
class ProfileConfig:
    """What a cell measures."""

    name: str = MISSING


@dataclass(kw_only=True)
class SamplingConfig:
    """When a cell has been sampled enough. Steps count from the first one after the warm-up."""

    warmup: int = 3
    min_steps: int = 16
    max_steps: int = 100
    check_every: int = 8
    target: float | None = None
    budget_s: float = 60.0


@dataclass(kw_only=True)
class LaunchConfig:
    """One cell of the grid, and how to measure it: the schema of conf/launch.yaml."""

    tp: int = MISSING
    mbs: int = MISSING
    precision: Precision = Precision.fp32
    optimizer: Optimizer = Optimizer.adam
    attention: Attention = Attention.unfused
    profile_dir: str = MISSING
    force: bool = False
    skip_after_oom: bool = True
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    stall_s: float = 300.0
    action: Action = Action.launch
    model: ModelConfig = field(default_factory=ModelConfig)
    gpu: GpuConfig = field(default_factory=GpuConfig)
    vm: VmConfig = field(default_factory=VmConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)


Cell = LaunchConfig
"""A composed, typed configuration of one (tp, mbs)."""


@dataclass(kw_only=True)
class ExporterConfig:
    """A planner, or a table for people. The files are what it reads besides the gathered database."""

    name: str = MISSING
    extra_file: str | None = None
    network_file: str | None = None
    overlap_file: str | None = None
    max_nodes: int = 128


@dataclass(kw_only=True)
class GatherConfig:
    """What to gather or to export: the schema of conf/gather.yaml."""

    precision: Precision = Precision.fp32
    optimizer: Optimizer = Optimizer.adam
    attention: Attention = Attention.unfused
    profile_dir: str = MISSING
    export_root: str = MISSING
    model: ModelConfig = field(default_factory=ModelConfig)
    gpu: GpuConfig = field(default_factory=GpuConfig)
    vm: VmConfig = field(default_factory=VmConfig)
    exporter: ExporterConfig = field(default_factory=ExporterConfig)


def register() -> None:
    """Give Hydra the schemas that conf/launch.yaml and conf/gather.yaml start from."""
    ConfigStore.instance().store(name="launch_schema", node=LaunchConfig)
    ConfigStore.instance().store(name="gather_schema", node=GatherConfig)


def cell_from(config: DictConfig) -> Cell:
    """Convert a configuration composed from conf/launch.yaml, without Hydra's own part of it.

    Raises omegaconf.errors.OmegaConfBaseException for a value that is missing.
    """
    cell = OmegaConf.to_object(config)
    if not isinstance(cell, LaunchConfig):
        raise TypeError(f"composed from another schema: {type(cell).__name__}")
    return cell


def gather_from(config: DictConfig) -> GatherConfig:
    """Convert a configuration composed from conf/gather.yaml, without Hydra's own part of it.

    Raises omegaconf.errors.OmegaConfBaseException for a value that is missing.
    """
    gather = OmegaConf.to_object(config)
    if not isinstance(gather, GatherConfig):
        raise TypeError(f"composed from another schema: {type(gather).__name__}")
    return gather


def sampling_target(cell: Cell) -> float:
    """Relative half-width of the interval at which a cell has converged."""
    if cell.sampling.target is not None:
        return cell.sampling.target
    return 0.02 if cell.gpu.device is Device.cuda else 0.03


def padded_vocab_size(model: ModelConfig, tp: int) -> int:
    """Vocabulary with Megatron's padding, so that every rank holds the same number of rows.

    Source: Megatron-LM, `_vocab_size_with_padding`: the next multiple of
    `make_vocab_size_divisible_by` x tp.
    """
    multiple = model.make_vocab_size_divisible_by * tp
    return -(-model.vocab_size // multiple) * multiple


def faults(cell: Cell) -> list[str]:
    """Everything wrong with a cell that no measurement could mend, one sentence each."""
    return [*_tp_faults(cell), *_model_faults(cell.model), *_gpu_faults(cell.gpu), *_sampling_faults(cell)]


def gather_faults(gather: GatherConfig) -> list[str]:
    """Everything wrong with what to gather or export, one sentence each."""
    found = [*_model_faults(gather.model), *_gpu_faults(gather.gpu)]
    if gather.vm.gpus < 1:
        found.append(f"vm.gpus={gather.vm.gpus} must be at least 1")
    if gather.exporter.max_nodes < _LEAST_NODES:
        found.append(f"exporter.max_nodes={gather.exporter.max_nodes} must be at least {_LEAST_NODES}")
    return found


def grid_faults(cells: Sequence[Cell]) -> list[str]:
    """Faults of all cells of a grid, each once, and of the grid as a whole."""
    found = [fault for cell in cells for fault in faults(cell)]
    devices = sorted({cell.gpu.device.value for cell in cells})
    if len(devices) > 1:
        found.append(f"a sweep measures one kind of device; this one has {' and '.join(devices)}: use two commands")
    return list(dict.fromkeys(found))


def infeasibility(cell: Cell) -> str | None:
    """Why this architecture cannot be split tp ways, or None. An outcome of the cell, not a fault of the user."""
    return uneven_split(cell.model, cell.tp)


def uneven_split(model: ModelConfig, tp: int) -> str | None:
    """Why tp does not divide the architecture, or None."""
    parts = {
        "num_attention_heads": model.num_attention_heads,
        "num_query_groups": model.num_query_groups,
        "ffn_hidden_size": model.ffn_hidden_size,
    }
    uneven = [f"{name}={count}" for name, count in parts.items() if count % tp]
    return f"{model.name} cannot be split over tp={tp}: {', '.join(uneven)} do not divide" if uneven else None


def _tp_faults(cell: Cell) -> list[str]:
    found = [f"{name}={value} must be at least 1" for name, value in _counts(cell).items() if value < 1]
    if found:
        return found
    tp, gpus = cell.tp, cell.vm.gpus
    if tp > gpus:
        found.append(f"tp={tp} needs {tp} GPUs in one machine; vm={gpus} has {gpus}. Lower tp, or choose a larger vm.")
    elif gpus % tp:
        fitting = ", ".join(str(degree) for degree in range(1, gpus + 1) if gpus % degree == 0)
        found.append(f"tp={tp} does not divide the {gpus} GPUs of vm={gpus}. Choose tp from {fitting}.")
    return found


def _counts(cell: Cell) -> dict[str, int]:
    return {"tp": cell.tp, "mbs": cell.mbs, "vm.gpus": cell.vm.gpus}


_LEAST_WARMUP = 2
_LEAST_NODES = 2
_POSITIVE = (
    "num_layers",
    "hidden_size",
    "num_attention_heads",
    "num_query_groups",
    "ffn_hidden_size",
    "seq_length",
    "max_position_embeddings",
    "vocab_size",
    "make_vocab_size_divisible_by",
    "rotary_base",
)


def _model_faults(model: ModelConfig) -> list[str]:
    found = [f"model.{key}={getattr(model, key)} must be at least 1" for key in _POSITIVE if getattr(model, key) < 1]
    if found:
        return found
    if "/" in model.name or not model.name:
        found.append(f"model.name={model.name!r} must be a file name: it stands in paths")
    if model.hidden_size % model.num_attention_heads:
        found.append(
            f"model.hidden_size={model.hidden_size} is not a multiple of "
            f"model.num_attention_heads={model.num_attention_heads}"
        )
    if model.num_attention_heads % model.num_query_groups:
        found.append(
            f"model.num_attention_heads={model.num_attention_heads} is not a multiple of "
            f"model.num_query_groups={model.num_query_groups}"
        )
    learned = model.position_embedding_type is PositionEmbedding.learned_absolute
    if learned and model.seq_length > model.max_position_embeddings:
        found.append(
            f"model.seq_length={model.seq_length} is longer than the model's "
            f"{model.max_position_embeddings} learned positions. Lower it, or raise model.max_position_embeddings."
        )
    return [*found, *_window_faults(model)]


def _window_faults(model: ModelConfig) -> list[str]:
    found = []
    if model.window_size is not None and model.window_size < 1:
        found.append(f"model.window_size={model.window_size} must be at least 1, or null for none")
    pattern = model.window_attn_skip_freq
    if pattern is not None and (not pattern or set(pattern) - {0, 1}):
        found.append(f"model.window_attn_skip_freq={pattern} must be a pattern of 0 (everything) and 1 (window)")
    if pattern is not None and model.window_size is None:
        found.append("model.window_attn_skip_freq is set but model.window_size is not")
    return found


def _gpu_faults(gpu: GpuConfig) -> list[str]:
    found = []
    if not (math.isfinite(gpu.memory_gb) and gpu.memory_gb > 0):
        found.append(f"gpu.memory_gb={gpu.memory_gb} must be a number above 0")
    if "/" in gpu.name or not gpu.name:
        found.append(f"gpu.name={gpu.name!r} must be a file name: it stands in paths")
    if gpu.device is Device.cpu and gpu.backend is Backend.nccl:
        found.append("gpu.backend=nccl needs gpu.device=cuda; with cpu use gloo")
    try:
        re.compile(gpu.device_name or "")
    except re.error as error:
        found.append(f"gpu.device_name={gpu.device_name!r} is not a regular expression: {error}")
    return found


def _sampling_faults(cell: Cell) -> list[str]:
    sampling = cell.sampling
    found = []
    if sampling.warmup < _LEAST_WARMUP:
        found.append(
            f"sampling.warmup={sampling.warmup} must be at least {_LEAST_WARMUP}: "
            "the first step creates optimizer states, the second is watched for memory"
        )
    if not 1 <= sampling.min_steps <= sampling.max_steps:
        found.append(f"sampling.min_steps={sampling.min_steps} must lie in 1..max_steps={sampling.max_steps}")
    if sampling.check_every < 1:
        found.append(f"sampling.check_every={sampling.check_every} must be at least 1")
    positive = {
        "sampling.target": sampling.target,
        "sampling.budget_s": sampling.budget_s,
        "stall_s": cell.stall_s,
    }
    found += [
        f"{key}={value} must be a number above 0"
        for key, value in positive.items()
        if value is not None and not (math.isfinite(value) and value > 0)
    ]
    return found


def plain(node: Any) -> dict[str, Any]:
    """Return a configuration dataclass as JSON types, enumerations by value."""
    container = OmegaConf.to_container(OmegaConf.structured(node), resolve=True, enum_to_str=True)
    assert isinstance(container, dict)  # noqa: S101
    return {str(key): value for key, value in container.items()}
