"""DeepSpeed's engine and optimizer, and the update of each part inside DeepSpeed's step."""

import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sailor_exp.config.schema import Cell, Optimizer, Precision
from sailor_exp.errors import UpdateSkippedError
from sailor_exp.instruments.clock import Clock, Interval

_LEARNING_RATE = 1e-6
"""So small that parameters hardly change. The cost of a step does not depend on it."""


@dataclass(frozen=True, kw_only=True)
class UpdateIntervals:
    """Intervals of one DeepSpeed step: the whole step, the update of each part, and in bf16 the copies.

    `copies`: from the master weights to the parameters, for all parts together; empty in fp32.
    """

    whole: Interval
    parts: list[Interval]
    copies: list[Interval]


def _ignore(_: int) -> None:
    return


class Engine:
    """The DeepSpeed engine that holds the optimizer states of some parts and updates their parameters.

    Each part is a parameter group of one optimizer, which updates group after group. The update of each group is marked
    inside one step; the rest of the step's cost is paid once, as in training.

    DeepSpeed adds hooks to the module that it gets, for the forward of the whole model. It gets a holder of the parts,
    so that a call of a part runs only the part.
    """

    def __init__(self, parts: Sequence[nn.Module], cell: Cell, clock: Clock) -> None:
        self._clock = clock
        groups = [{"params": list(part.parameters())} for part in parts]
        self._engine, self._optimizer = initialize(
            nn.ModuleList(parts), cell, mpu=ModelParallelUnit(), parameters=groups
        )
        self._entering: Callable[[int], None] = _ignore
        self._starts: list[Any] = []
        self._copies: list[Interval] = []
        self._mark_groups()
        if cell.precision is Precision.bf16:
            self._time_copies()

    def step(self, entering: Callable[[int], None] = _ignore) -> UpdateIntervals:
        """Update the parameters from their gradients, and drop these; `entering` receives the index of each part.

        Raises UpdateSkippedError if a gradient was not finite.
        """
        self._entering = entering
        self._starts.clear()
        self._copies.clear()
        start = self._clock.now()
        self._engine.step()
        whole = Interval(start, self._clock.now())
        if not self._starts:
            raise UpdateSkippedError
        parts = [Interval(start, stop) for start, stop in itertools.pairwise(self._starts)]
        return UpdateIntervals(whole=whole, parts=parts, copies=list(self._copies))

    def lasting_tensors(self) -> list[Tensor]:
        """Return what lasts between steps: parameters, optimizer states; in bf16 also master weights and gradients."""
        return lasting_tensors(self._engine, self._optimizer)

    def release(self) -> None:
        """Release the parts. The engine cannot be used afterwards."""
        release(self._engine)

    def _mark_groups(self) -> None:
        """Mark when the optimizer starts each group, and when it has finished the last one.

        Source: torch/optim/adam.py and sgd.py: `step` calls `_init_group` first for every group.
        """
        optimizer: Any = self._optimizer
        init_group, step = optimizer._init_group, optimizer.step  # noqa: SLF001

        def marked_group(*arguments: Any, **keywords: Any) -> Any:
            self._entering(len(self._starts))
            self._starts.append(self._clock.now())
            return init_group(*arguments, **keywords)

        def marked_step(*arguments: Any, **keywords: Any) -> Any:
            result = step(*arguments, **keywords)
            self._starts.append(self._clock.now())
            return result

        optimizer._init_group, optimizer.step = marked_group, marked_step  # noqa: SLF001

    def _time_copies(self) -> None:
        copy = self._engine.optimizer.update_lp_params

        def timed_copy(*arguments: Any, **keywords: Any) -> Any:
            start = self._clock.now()
            result = copy(*arguments, **keywords)
            self._copies.append(Interval(start, self._clock.now()))
            return result

        self._engine.optimizer.update_lp_params = timed_copy


class ModelParallelUnit:
    """Megatron-Core's process groups under the names that DeepSpeed calls.

    Without it DeepSpeed takes all ranks for data parallel ones, and splits the optimizer states among them.
    """

    def __getattr__(self, name: str) -> Any:
        from megatron.core import parallel_state

        return getattr(parallel_state, name.replace("get_model_parallel", "get_tensor_model_parallel"))


def initialize(
    module: nn.Module,
    cell: Cell,
    *,
    mpu: ModelParallelUnit | None,
    num_microbatches: int = 1,
    parameters: Sequence[dict[str, Any]] | None = None,
) -> tuple[Any, torch.optim.Optimizer]:
    """Give a module to DeepSpeed; return its engine, and the optimizer inside it.

    mpu: None for a pipeline, which has its own. parameters: in groups; by default all of the module in one group.
    """
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    for parameter in module.parameters():
        # DeepSpeed's bf16 optimizer computes a norm although nothing is clipped, and fails on a rank without a model
        # parallel parameter: a part may have only replicated ones. Nothing uses the norm.
        parameter.model_parallel = True  # type: ignore[attr-defined]
    optimizer = _optimizer(cell, module.parameters() if parameters is None else parameters)
    engine, _, _, _ = deepspeed.initialize(
        model=module,
        optimizer=optimizer,
        config=_engine_config(cell, num_microbatches),
        mpu=mpu,
        dist_init_required=False,
    )
    return engine, optimizer


def lasting_tensors(engine: Any, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return what lasts between steps: parameters, optimizer states; in bf16 also master weights and gradients."""
    states = [value for state in optimizer.state.values() for value in state.values()]
    gradients = getattr(engine.optimizer, "fp32_groups_gradients_flat", [])
    tensors = [*engine.module.parameters(), *(p for group in optimizer.param_groups for p in group["params"])]
    return [*tensors, *(state for state in states if isinstance(state, Tensor)), *gradients]


def release(engine: Any) -> None:
    """Remove DeepSpeed's hooks from the parameters. Otherwise all that its bf16 optimizer holds stays allocated.

    Autograd's node of a parameter holds the hook, the hook holds the optimizer, and the optimizer holds the parameter:
    the garbage collector does not see the whole circle.
    """
    engine.destroy()


def _optimizer(cell: Cell, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    if cell.optimizer is Optimizer.adam:
        return torch.optim.Adam(parameters, lr=_LEARNING_RATE, fused=True)
    return torch.optim.SGD(parameters, lr=_LEARNING_RATE, fused=True)


def _engine_config(cell: Cell, num_microbatches: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": cell.mbs,
        "gradient_accumulation_steps": num_microbatches,
        # Clipping is a norm over the whole model, not the update of a part.
        "gradient_clipping": 0.0,
        "steps_per_print": 2**31,
        # DeepSpeed's throughput timer waits for the device at every forward and step.
        "timers": {"throughput": {"enabled": False}},
    }
    if cell.precision is Precision.bf16:
        config |= {
            "bf16": {"enabled": True, "immediate_grad_update": True},
            "data_types": {"grad_accum_dtype": "fp32"},
            "zero_optimization": {"stage": 1},
            "zero_allow_untested_optimizer": True,
        }
    return config
