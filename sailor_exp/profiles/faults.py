"""Faults of a configuration, and cells that cannot be measured. They are reported before anything starts."""

import math
import re
from collections.abc import Sequence

from sailor_exp.config.architecture import uneven_split
from sailor_exp.config.schema import (
    CELL_KEYS,
    PROFILE_KEYS,
    Backend,
    Cell,
    Device,
    GatherConfig,
    GpuConfig,
    ModelConfig,
    PositionEmbedding,
    Precision,
)
from sailor_exp.profiles.registry import NAMES, profile_of


def faults(cell: Cell) -> list[str]:
    """Return the faults in the configuration of a cell, one sentence each."""
    if cell.profile.name not in NAMES:
        return [f"profile.name={cell.profile.name} is no profile. Choose from {', '.join(NAMES)}."]
    common = [*_key_faults(cell), *_model_faults(cell.model), *_gpu_faults(cell.gpu), *_sampling_faults(cell)]
    return [*common, *_precision_faults(cell.precision, cell.gpu), *profile_of(cell).faults(cell)]


def gather_faults(gather: GatherConfig) -> list[str]:
    """Return the faults in the configuration of a gathering or an export, one sentence each."""
    sentences = [*_model_faults(gather.model), *_gpu_faults(gather.gpu)]
    sentences += _precision_faults(gather.precision, gather.gpu)
    if gather.vm.gpus < 1:
        sentences.append(f"vm.gpus={gather.vm.gpus} must be at least 1")
    if gather.check and gather.exporter.name != "sailor":
        sentences.append(f"check=true holds records against training steps: exporter={gather.exporter.name} reads none")
    if not (math.isfinite(gather.check_limit) and gather.check_limit > 0):
        sentences.append(f"check_limit={gather.check_limit} must be a number above 0")
    if gather.exporter.max_nodes < _LEAST_NODES:
        sentences.append(f"exporter.max_nodes={gather.exporter.max_nodes} must be at least {_LEAST_NODES}")
    if too_small := [tp for tp in gather.exporter.infinite_tps if tp < 1]:
        sentences.append(f"exporter.infinite_tps={gather.exporter.infinite_tps}: {too_small[0]} must be at least 1")
    if not gather.exporter.zone.strip():
        sentences.append("exporter.zone is empty: it must be the name of a zone")
    return sentences


def grid_faults(cells: Sequence[Cell]) -> list[str]:
    """Return the faults of all cells of a grid, each once, and of the grid as a whole."""
    sentences = [fault for cell in cells for fault in faults(cell)]
    devices = sorted({cell.gpu.device.value for cell in cells})
    if len(devices) > 1:
        sentences.append(f"a sweep measures one kind of device; this one has {' and '.join(devices)}: use two commands")
    return list(dict.fromkeys(sentences))


def one_machine_faults(cells: Sequence[Cell]) -> list[str]:
    """Return the faults of cells for this machine alone."""
    return [fault for cell in cells if (fault := one_machine_fault(cell)) is not None]


def one_machine_fault(cell: Cell) -> str | None:
    """Return why this machine alone cannot measure a cell, or None; a CPU can stand for several machines."""
    if cell.nodes == 1 or cell.gpu.device is not Device.cuda:
        return None
    return (
        f"nodes={cell.nodes} with gpu={cell.gpu.name} needs {cell.nodes} machines, and this is one. "
        "Measure with hydra/launcher=slurm."
    )


def infeasibility(cell: Cell) -> str | None:
    """Return why such a cell cannot exist, or None. This is an outcome of the cell, not a fault of the user."""
    profile = profile_of(cell)
    uneven = uneven_split(cell.model, cell.tp) if profile.about_model else None
    return uneven or profile.infeasibility(cell)


def _key_faults(cell: Cell) -> list[str]:
    """Return the faults of the keys that identify a cell: below 1, not used by the profile, too large for a machine."""
    counts = {**{key: getattr(cell, key) for key in CELL_KEYS}, "vm.gpus": cell.vm.gpus}
    if too_small := [f"{key}={value} must be at least 1" for key, value in counts.items() if value < 1]:
        return too_small
    profile = profile_of(cell)
    useless = [
        f"{key}={getattr(cell, key)}: profile={profile.name} has no use for it; leave it out"
        for key in CELL_KEYS
        if key not in profile.keys and getattr(cell, key) != _default(key, cell)
    ]
    unused = {key: getattr(cell.profile, key) for key in PROFILE_KEYS if key not in (profile.options(cell) or {})}
    useless += [
        f"profile.{key}={value}: profile={profile.name} has no use for it; leave it out"
        for key, value in unused.items()
        if value is not None
    ]
    return useless or (_tp_faults(cell) if profile.about_model else _ranks_faults(cell))


def _foreign_ranks(cell: Cell) -> list[str]:
    """Return the fault of ranks other than tp x pp: more would be replicas, which no record names."""
    if cell.ranks == cell.tp * cell.pp:
        return []
    return [f"profile.ranks={cell.profile.ranks}: tp={cell.tp} pp={cell.pp} say how many; leave it out"]


def _default(key: str, cell: Cell) -> int:
    return cell.profile.ranks if key == "ranks" else 1


def _tp_faults(cell: Cell) -> list[str]:
    tp, gpus = cell.tp, cell.vm.gpus
    if foreign := _foreign_ranks(cell):
        return foreign
    if tp > gpus:
        return [f"tp={tp} needs {tp} GPUs in one machine; vm={gpus} has {gpus}. Lower tp, or choose a larger vm."]
    if gpus % tp:
        fitting = ", ".join(str(degree) for degree in range(1, gpus + 1) if gpus % degree == 0)
        return [f"tp={tp} does not divide the {gpus} GPUs of vm={gpus}. Choose tp from {fitting}."]
    return []


def _ranks_faults(cell: Cell) -> list[str]:
    ranks, gpus = cell.ranks, cell.vm.gpus
    if ranks > gpus:
        return [f"ranks={ranks} need {ranks} GPUs in one machine; vm={gpus} has {gpus}. Choose a larger vm."]
    return []


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
    sentences = [
        f"model.{key}={getattr(model, key)} must be at least 1" for key in _POSITIVE if getattr(model, key) < 1
    ]
    if sentences:
        return sentences
    if "/" in model.name or not model.name:
        sentences.append(f"model.name={model.name!r} must be a file name: it stands in paths")
    if model.hidden_size % model.num_attention_heads:
        sentences.append(
            f"model.hidden_size={model.hidden_size} is not a multiple of "
            f"model.num_attention_heads={model.num_attention_heads}"
        )
    if model.num_attention_heads % model.num_query_groups:
        sentences.append(
            f"model.num_attention_heads={model.num_attention_heads} is not a multiple of "
            f"model.num_query_groups={model.num_query_groups}"
        )
    learned = model.position_embedding_type is PositionEmbedding.learned_absolute
    if learned and model.seq_length > model.max_position_embeddings:
        sentences.append(
            f"model.seq_length={model.seq_length} is longer than the model's "
            f"{model.max_position_embeddings} learned positions. Lower it, or raise model.max_position_embeddings."
        )
    return [*sentences, *_window_faults(model)]


def _window_faults(model: ModelConfig) -> list[str]:
    sentences = []
    if model.window_size is not None and model.window_size < 1:
        sentences.append(f"model.window_size={model.window_size} must be at least 1, or null for none")
    pattern = model.window_attn_skip_freq
    if pattern is not None and (not pattern or set(pattern) - {0, 1}):
        sentences.append(f"model.window_attn_skip_freq={pattern} must be a pattern of 0 (everything) and 1 (window)")
    if pattern is not None and model.window_size is None:
        sentences.append("model.window_attn_skip_freq is set but model.window_size is not")
    return sentences


def _gpu_faults(gpu: GpuConfig) -> list[str]:
    sentences = []
    if not (math.isfinite(gpu.memory_gb) and gpu.memory_gb > 0):
        sentences.append(f"gpu.memory_gb={gpu.memory_gb} must be a number above 0")
    if "/" in gpu.name or not gpu.name:
        sentences.append(f"gpu.name={gpu.name!r} must be a file name: it stands in paths")
    if gpu.device is Device.cpu and gpu.backend is Backend.nccl:
        sentences.append("gpu.backend=nccl needs gpu.device=cuda; with cpu use gloo")
    try:
        re.compile(gpu.device_name or "")
    except re.error as error:
        sentences.append(f"gpu.device_name={gpu.device_name!r} is not a regular expression: {error}")
    return sentences


def _precision_faults(precision: Precision, gpu: GpuConfig) -> list[str]:
    if precision is Precision.tf32 and gpu.without_tf32:
        return [f"precision=tf32: gpu={gpu.name} has no TF32 tensor cores. Choose precision=fp32, or another gpu."]
    return []


def _sampling_faults(cell: Cell) -> list[str]:
    sampling = cell.sampling
    sentences = []
    if sampling.warmup < _LEAST_WARMUP:
        sentences.append(
            f"sampling.warmup={sampling.warmup} must be at least {_LEAST_WARMUP}: "
            "the first step creates optimizer states, the second is watched for memory"
        )
    if not 1 <= sampling.min_steps <= sampling.max_steps:
        sentences.append(f"sampling.min_steps={sampling.min_steps} must lie in 1..max_steps={sampling.max_steps}")
    if sampling.check_every < 1:
        sentences.append(f"sampling.check_every={sampling.check_every} must be at least 1")
    positive = {
        "sampling.target": sampling.target,
        "sampling.budget_s": sampling.budget_s,
        "stall_s": cell.stall_s,
    }
    sentences += [
        f"{key}={value} must be a number above 0"
        for key, value in positive.items()
        if value is not None and not (math.isfinite(value) and value > 0)
    ]
    return sentences
