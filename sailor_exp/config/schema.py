"""What a user configures: the schemas that Hydra composes into, and the typed cell that all other code uses.

`register()` puts the schemas into Hydra's ConfigStore; `cell_from` converts a composed configuration once,
at the entry point. `sailor_exp/profiles/faults.py` returns the faults of a cell.
"""

import math
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

CELL_KEYS = ("pp", "tp", "mbs", "num_microbatches", "ranks", "nodes")
"""Keys in which cells of one profile and one model may differ; each profile uses some of them."""


class Precision(StrEnum):
    """Type of parameters and activations, and of the products on tensor cores.

    fp32: products in full fp32. tf32: the same fp32 tensors, whose products may round their operands to TF32. bf16:
    bf16 tensors, with fp32 master weights and fp32 gradients.
    """

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"

    @property
    def fp32_tensors(self) -> bool:
        """Whether parameters and activations are fp32."""
        return self is not Precision.bf16


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
    """Library with which ranks communicate."""

    nccl = "nccl"
    gloo = "gloo"


class Action(StrEnum):
    """What to do with the grid: measure it, show its progress, or cancel its queued and running jobs."""

    launch = "launch"
    status = "status"
    cancel = "cancel"


@dataclass(kw_only=True)
class ModelConfig:
    """An architecture, under Megatron's own names. `name` is the model's key in planners' files."""

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
    """A kind of device. `memory_gb` counts 2^30 bytes per device.

    `tf32`: whether it has TF32 tensor cores (compute capability 8.0 or higher); None where only the device says it.
    """

    name: str = MISSING
    device: Device = MISSING
    backend: Backend = MISSING
    memory_gb: float = MISSING
    device_name: str | None = None
    slurm_gres: str | None = None
    tf32: bool | None = None

    @property
    def without_tf32(self) -> bool:
        """Whether such a device is known to have no TF32 tensor cores."""
        return self.device is Device.cpu or self.tf32 is False


@dataclass(kw_only=True)
class VmConfig:
    """A machine; `gpus` bounds the tensor parallel degree."""

    gpus: int = MISSING


@dataclass(kw_only=True)
class ProfileConfig:
    """What a cell measures. `subject` names the directory of its records; `ranks`: processes in one machine.

    Each other key belongs to one profile, and is None in all others: network sends messages of `least_bytes` to
    `most_bytes`.
    """

    name: str = MISSING
    subject: str = MISSING
    ranks: int = MISSING
    least_bytes: int | None = None
    most_bytes: int | None = None


PROFILE_KEYS = tuple(key.name for key in fields(ProfileConfig) if key.default is None)
"""Keys of ProfileConfig that belong to one profile each."""


@dataclass(kw_only=True)
class SamplingConfig:
    """When a cell has enough samples. Steps are counted from the first one after the warm-up."""

    warmup: int = 3
    min_steps: int = 16
    max_steps: int = 100
    check_every: int = 8
    target: float | None = None
    budget_s: float = 60.0


@dataclass(kw_only=True)
class ExporterConfig:
    """An exporter: its planner, or the kind of table for people. `max_nodes`: largest group in its files.

    A planner's exporter reads the named files besides the gathered database; `network` merges into two of them.
    It also merges into three bandwidth files, but for those that are null: `intra_node_file`, and for the VMs of `zone`
    `multizone_file` (measured pairs) and `multizone_het_file` (all pairs). `new_zone`: whether files that have other
    zones get this one, too.
    `infinite_tps`: degrees that do not fit into memory, for which AMP's files hold infinite times.
    """

    name: str = MISSING
    extra_file: str | None = None
    network_file: str | None = None
    overlap_file: str | None = None
    intra_node_file: str | None = None
    multizone_file: str | None = None
    multizone_het_file: str | None = None
    zone: str = "own-cluster"
    new_zone: bool = False
    max_nodes: int = 128
    infinite_tps: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class LaunchConfig:
    """One cell of the grid, and how to measure it: the schema of conf/launch.yaml.

    `ranks` processes on each of `nodes` machines measure the cell. With an exporter, a launch measures what it needs,
    links into `network_dir`, and exports to `export_root`.
    """

    pp: int = 1
    tp: int = MISSING
    mbs: int = MISSING
    num_microbatches: int = 1
    ranks: int = "${profile.ranks}"  # type: ignore[assignment]
    nodes: int = 1
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
    exporter: ExporterConfig | None = None
    network_dir: str = MISSING
    export_root: str = MISSING
    report: bool = False


Cell = LaunchConfig
"""The composed, typed configuration of one cell of the grid."""


@dataclass(kw_only=True)
class GatherConfig:
    """What to gather or to export: the schema of conf/gather.yaml."""

    precision: Precision = Precision.fp32
    optimizer: Optimizer = Optimizer.adam
    attention: Attention = Attention.unfused
    profile_dir: str = MISSING
    network_dir: str = MISSING
    export_root: str = MISSING
    report: bool = False
    ready: bool = False
    check: bool = False
    check_limit: float = 0.1
    model: ModelConfig = field(default_factory=ModelConfig)
    gpu: GpuConfig = field(default_factory=GpuConfig)
    vm: VmConfig = field(default_factory=VmConfig)
    exporter: ExporterConfig = field(default_factory=ExporterConfig)


def register() -> None:
    """Register with Hydra the schemas of conf/launch.yaml and conf/gather.yaml, and two resolvers.

    `${product:a,b}` multiplies; `${by_device:${gpu.device},a,b}` is a on cuda and b on cpu.
    """
    OmegaConf.register_new_resolver("product", lambda *factors: math.prod(factors), replace=True)
    OmegaConf.register_new_resolver("by_device", _by_device, replace=True)
    ConfigStore.instance().store(name="launch_schema", node=LaunchConfig)
    ConfigStore.instance().store(name="gather_schema", node=GatherConfig)


def _by_device(device: Device | str, on_cuda: Any, on_cpu: Any) -> Any:
    return on_cuda if Device(device) is Device.cuda else on_cpu


def cell_from(config: DictConfig) -> Cell:
    """Convert a configuration composed from conf/launch.yaml, without Hydra's own part of it.

    Raises omegaconf.errors.OmegaConfBaseException for a missing value, TypeError for another schema.
    """
    cell = OmegaConf.to_object(config)
    if not isinstance(cell, LaunchConfig):
        raise TypeError(f"composed from another schema: {type(cell).__name__}")
    return cell


def gather_from(config: DictConfig) -> GatherConfig:
    """Convert a configuration composed from conf/gather.yaml, without Hydra's own part of it.

    Raises omegaconf.errors.OmegaConfBaseException for a missing value, TypeError for another schema.
    """
    gather = OmegaConf.to_object(config)
    if not isinstance(gather, GatherConfig):
        raise TypeError(f"composed from another schema: {type(gather).__name__}")
    return gather


def sampling_target(cell: Cell) -> float:
    """Return the relative half-width of the interval at which a cell has converged."""
    if cell.sampling.target is not None:
        return cell.sampling.target
    return 0.02 if cell.gpu.device is Device.cuda else 0.03


def plain(node: Any) -> dict[str, Any]:
    """Return a configuration dataclass as JSON types, enumerations by value."""
    container = OmegaConf.to_container(OmegaConf.structured(node), resolve=True, enum_to_str=True)
    assert isinstance(container, dict)  # noqa: S101
    return {str(key): value for key, value in container.items()}
