"""Bytes of training for each parameter: what the measured engine holds, and what planners count.

The measured engine is DeepSpeed with PyTorch's optimizers: its SGD has no momentum, and in fp32 it drops the gradients
after each step. tf32 has the tensors of fp32. bf16 halves the parameter, and adds an fp32 master copy; gradients are
fp32.
"""

from dataclasses import dataclass

from sailor_exp.config.schema import Optimizer, Precision

_PARAMETER = {Precision.fp32: 4, Precision.tf32: 4, Precision.bf16: 2}
_MASTER = {Precision.fp32: 0, Precision.tf32: 0, Precision.bf16: 4}
_STATES = {Optimizer.adam: 8, Optimizer.sgd: 0}
_MOMENTUM_OF_PLANNERS = {Optimizer.adam: 0, Optimizer.sgd: 4}
_COMMUNICATION = 4
GRADIENT_BYTES = 4
"""Bytes of the gradient of a parameter, in every precision."""


@dataclass(frozen=True, kw_only=True)
class StateBytes:
    """Bytes for each parameter, without the parameter itself. `optimizer` includes the fp32 master copy of bf16.

    `lasting_gradient`: bytes of the gradient that stay between steps.
    """

    gradient: int
    lasting_gradient: int
    optimizer: int


def state_bytes(precision: Precision, optimizer: Optimizer) -> StateBytes:
    """Return the bytes that the measured engine holds for each parameter."""
    return StateBytes(
        gradient=GRADIENT_BYTES,
        lasting_gradient=0 if precision.fp32_tensors else GRADIENT_BYTES,
        optimizer=_STATES[optimizer] + _MASTER[precision],
    )


def parameter_bytes(precision: Precision) -> int:
    """Return the bytes of a parameter, and of a number among the activations."""
    return _PARAMETER[precision]


@dataclass(frozen=True, kw_only=True)
class UpdateBytes:
    """Bytes for each parameter that an update reads and writes at least, if each is moved once."""

    read: int
    written: int


def update_bytes(precision: Precision, optimizer: Optimizer) -> UpdateBytes:
    """Return what the optimizer's step moves for each parameter: for fp32 Adam it reads 16 bytes and writes 12.

    It reads the gradient, the parameter (of bf16 the master copy) and the states, and writes the latter two; of bf16
    also the parameter, from its master copy.
    """
    states = state_bytes(precision, optimizer)
    copied = _PARAMETER[precision] if _MASTER[precision] else 0
    changed = states.optimizer + _PARAMETER[precision] - copied
    return UpdateBytes(read=states.gradient + changed, written=changed + copied)


def lasting_bytes_per_parameter(precision: Precision, optimizer: Optimizer) -> int:
    """Return the bytes that the engine keeps for a parameter between steps: 12 for fp32 Adam, 4 for fp32 SGD."""
    states = state_bytes(precision, optimizer)
    return _PARAMETER[precision] + states.optimizer + states.lasting_gradient


def parameter_share_of_states(precision: Precision, optimizer: Optimizer) -> float:
    """Return the share of the parameter in the bytes that the engine holds for it after a backward: 1/4 for fp32 Adam.

    The others are the gradient and the optimizer's states.
    """
    states = state_bytes(precision, optimizer)
    return _PARAMETER[precision] / (_PARAMETER[precision] + states.gradient + states.optimizer)


def planned_bytes_per_parameter(precision: Precision, optimizer: Optimizer) -> int:
    """Return the bytes that planners count for a parameter: 20 for fp32 Adam, 16 for fp32 SGD, 22 and 18 for bf16.

    They count the parameter, its gradient, the optimizer's states (planners give SGD a momentum) and the buffer that
    communicates the gradient. Source of the fp32 sums: the exporters of eth-easl/sailor at cf2c8e3. Without the buffer
    they are Megatron-LM's own 16 and 18 bytes (its documentation of the distributed optimizer).
    """
    states = state_bytes(precision, optimizer)
    momentum = _MOMENTUM_OF_PLANNERS[optimizer]
    return _PARAMETER[precision] + states.gradient + states.optimizer + momentum + _COMMUNICATION
