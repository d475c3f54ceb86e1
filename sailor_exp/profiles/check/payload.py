"""What one rank sends of a check."""

from dataclasses import dataclass

from sailor_exp.profiles.layers.payload import LayersMeasurement
from sailor_exp.records.provenance import DeviceFacts


@dataclass(frozen=True, kw_only=True)
class FullSeconds:
    """Raw seconds of the full model's steps on one rank, warm-up first: shape (N,) each.

    Each is the sum over the microbatches of the step. `exchange_s`: of gradients between data parallel ranks, of which
    there is one: what DeepSpeed's copies take. `total_s`: until the update is done, without the exchange.
    """

    forward_s: list[float]
    backward_s: list[float]
    exchange_s: list[float]
    update_s: list[float]
    total_s: list[float]


@dataclass(frozen=True, kw_only=True)
class CheckSeconds:
    """What one rank measured of the chain and of the full model, a step of each in turn."""

    chain: LayersMeasurement
    full: FullSeconds
    peak_bytes: int
    device: DeviceFacts
