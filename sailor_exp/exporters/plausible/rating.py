"""Compares one measured time with what the GPU can do at most, by the work of the part and the peak of its kind.

A time is *above* the peak if the part's operations, or its bytes, would take longer at the data sheet's rates. Bytes
that a cache may have kept count only where no cache is so fast. A time is *slow* if it is more than ten times what
arithmetic and memory need. Times hold collectives (tp > 1) and the launches of kernels, and the work does not: a slow
part waits, and need not be wrong. Kinds without a known peak, CPUs among them, are not judged.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from sailor_exp.config.architecture import Kind
from sailor_exp.config.peaks import Peak, peak_of
from sailor_exp.config.schema import Attention, ModelConfig, Optimizer, Precision
from sailor_exp.config.work import Phase, Training, Work, work_of
from sailor_exp.records.identity import Identity

SLOW = 10.0
"""How many times longer than both limits a time is before it is named."""

FASTEST_CACHE = 10.0
"""How many times faster than its memory no GPU's cache is (A100: 5120 bytes a clock are 4.6 times its bandwidth)."""

SHARES: Mapping[str, type] = {"share_of_peak": float, "share_of_bandwidth": float}
"""The columns of the tidy table that `shares` fills, and their types."""


class Verdict(StrEnum):
    """What is wrong with a time: faster than the peak, or much slower than both limits."""

    above = "above"
    slow = "slow"


@dataclass(frozen=True, kw_only=True)
class Rating:
    """A time against a peak. None where there is no such work, or nothing to compare it with.

    `times_its_limit`: the time over what arithmetic or memory needs at the peak, whichever takes longer.
    """

    flops_per_s: float | None
    bytes_per_s: float
    share_of_peak: float | None = None
    share_of_bandwidth: float | None = None
    times_its_limit: float | None = None
    verdict: Verdict | None = None


def rated(work: Work, seconds: float, peak: Peak | None, precision: str) -> Rating:
    """Compare a time with the peak at a precision. A time of 0 has infinite rates."""
    flops_per_s = _rate(work.flops, seconds) if work.flops else None
    bytes_per_s = _rate(work.bytes, seconds)
    if peak is None:
        return Rating(flops_per_s=flops_per_s, bytes_per_s=bytes_per_s)
    highest = peak.flops_per_s.get(precision)
    limit_s = _limit_s(work, peak, highest)
    return Rating(
        flops_per_s=flops_per_s,
        bytes_per_s=bytes_per_s,
        share_of_peak=flops_per_s / highest if flops_per_s is not None and highest else None,
        share_of_bandwidth=bytes_per_s / peak.bytes_per_s,
        times_its_limit=seconds / limit_s if limit_s else None,
        verdict=_verdict(seconds, _least_s(work, peak, highest), limit_s),
    )


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds else math.inf


def _limit_s(work: Work, peak: Peak, highest: float | None) -> float | None:
    """Return the seconds for the operations or the bytes; None where the peak at the precision is not known."""
    if work.flops and highest is None:
        return None
    return max(work.flops / (highest or 1.0), work.bytes / peak.bytes_per_s)


def _least_s(work: Work, peak: Peak, highest: float | None) -> float:
    """Return the same with the largest and the fastest cache that a GPU may have."""
    memory_s = max(work.uncached_bytes, work.bytes / FASTEST_CACHE) / peak.bytes_per_s
    return memory_s if highest is None else max(work.flops / highest, memory_s)


def _verdict(seconds: float, least_s: float, limit_s: float | None) -> Verdict | None:
    if seconds < least_s:
        return Verdict.above
    return Verdict.slow if limit_s is not None and seconds > SLOW * limit_s else None


def shares(identity: Identity, kind: str, phase: str, seconds: float) -> dict[str, float | None]:
    """Return the columns of the tidy table for one time of a record: its shares of the peak and of the bandwidth.

    They are None for phases whose work is not known, and for kinds of GPU without a peak.
    """
    training = _training_of(identity)
    work = work_of(training, Kind(kind), Phase(phase)) if training and phase in Phase.__members__ else None
    if training is None or work is None:
        return dict.fromkeys(SHARES)
    peak = peak_of(identity.gpu_name, str(identity.gpu["device"]))
    rating = rated(work, seconds, peak, training.precision.value)
    return {share: getattr(rating, share) for share in SHARES}


def _training_of(identity: Identity) -> Training | None:
    """Return what determines the work of a record; None where its model has a key that this version does not know."""
    model, tp, mbs = identity.model, identity.tp, identity.mbs
    if model is None or tp is None or mbs is None or not model.keys() <= _KEYS:
        return None
    return Training(
        model=_model_of(json.dumps(model)),
        tp=tp,
        mbs=mbs,
        precision=Precision(str(identity.precision)),
        optimizer=Optimizer(str(identity.optimizer)),
        attention=Attention(str(identity.attention)),
    )


_KEYS = {field.name for field in fields(ModelConfig)}


@cache
def _model_of(content: str) -> ModelConfig:
    model: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), json.loads(content)))
    assert isinstance(model, ModelConfig)  # noqa: S101
    return model
