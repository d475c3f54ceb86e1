"""Bytes that training holds for each parameter."""

from dataclasses import dataclass

from sailor_exp.config.schema import Optimizer, Precision

_PARAMETER = {Precision.fp32: 4, Precision.bf16: 2}

_MASTER = {Precision.fp32: 0, Precision.bf16: 4}

_GRADIENT = 4

_COMMUNICATION = 4

_OPTIMIZER_STATES = {Optimizer.adam: 8, Optimizer.sgd: 4}


def bytes_per_parameter(precision: Precision, optimizer: Optimizer) -> int:
    """Return what the planners take a parameter to cost: 20 for fp32 Adam, 16 for fp32 SGD, 22 and 18 for bf16.

    The parameter, its gradient, the optimizer's states (two moments, or the momentum), and the buffer that the
    gradient is communicated in. bf16 halves the parameter and adds an fp32 master copy; its gradients are accumulated
    and communicated in fp32, as the measured engine does. Source of the fp32 sums: the exporters of eth-easl/sailor at
    cf2c8e3; without the buffer they are Megatron-LM's own 16 and 18 bytes (its documentation of the distributed
    optimizer, the columns without it).
    """
    return _PARAMETER[precision] + _MASTER[precision] + _GRADIENT + _OPTIMIZER_STATES[optimizer] + _COMMUNICATION


@dataclass(frozen=True, kw_only=True)
class StateBytes:
    """Bytes a parameter beside the parameter itself. `optimizer` counts the fp32 master copy of bf16 too."""

    gradient: int
    optimizer: int


def state_bytes(precision: Precision, optimizer: Optimizer) -> StateBytes:
    """Return what the measured engine holds for each parameter. Its SGD has no momentum."""
    moments = _OPTIMIZER_STATES[optimizer] if optimizer is Optimizer.adam else 0
    return StateBytes(gradient=_GRADIENT, optimizer=moments + _MASTER[precision])
