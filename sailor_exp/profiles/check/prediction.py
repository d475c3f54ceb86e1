"""Predicts a training iteration from the costs of the parts: a sum and a schedule, without a fitted constant.

One stage (pp 1), M microbatches, parts p of the model:

    forward  = M * (sum(forward_p) + after_embedding)
    backward = M * (sum(backward_p) + after_head) + (M - 1) * sum(accumulate_p)
    update   = sum(update_p) + overhead
    total    = forward + backward + update

after_embedding: what the forward of the layer after the embedding takes beyond that of a layer after a layer;
after_head: the same for the backward of the layer after the head. docs/accuracy.md has the evidence. The times of
the gradient exchange (docs/measuring.md, profile=check) and of transfers between stages are not predicted.

More stages: stage s runs min(M, pp - s) forwards, then backward and forward in turn (1F1B). A forward waits for that of
the stage before, a backward for that of the stage after; the update follows the stage's last backward. Source:
Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM (2021), section 2.2;
deepspeed/runtime/pipe/schedule.py, TrainSchedule.

Memory of a stage: what lasts, and the highest moment of
    forward of p:   gradients if M > 1, activations kept so far, p's input, the highest that p's forward adds;
    backward of p:  gradients of the parts after p (all if M > 1), activations kept up to p, the gradient of p's output,
                    the highest that p's backward adds;
    exchange:       gradients twice: DeepSpeed copies them into one buffer, also with one data parallel rank;
    update:         gradients, and the highest that an update adds.
With more stages a stage keeps the activations of min(M, pp - s) microbatches, and the last one the logits of two.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.parameter_bytes import GRADIENT_BYTES, lasting_bytes_per_parameter
from sailor_exp.config.schema import ModelConfig, Optimizer, Precision
from sailor_exp.config.stages import stage_layer_ids
from sailor_exp.profiles.layers.costs import StepCost


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """Seconds of one training iteration.

    forward_s, backward_s: of all microbatches on all stages together. update_s: of the slowest stage. total_s: from
    the first forward to the last update; with one stage the sum of the others.
    """

    total_s: float
    forward_s: float
    backward_s: float
    update_s: float


@dataclass(frozen=True, kw_only=True)
class KindBytes:
    """Bytes of one kind of part on one rank, for one microbatch; peaks above what was allocated before the phase."""

    params_floats: int
    params_bytes: int
    act_output_bytes: int
    act_mem_bytes: int
    peak_forward_bytes: int
    peak_backward_bytes: int
    peak_update_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Seconds of one microbatch on one stage, and of its update."""

    forward_s: float
    backward_s: float
    accumulate_s: float
    update_s: float

    def backward_of(self, microbatch: int) -> float:
        return self.backward_s + (self.accumulate_s if microbatch > 0 else 0.0)


def stage_kinds(model: ModelConfig, pp: int) -> list[list[str]]:
    """Return the kinds of the parts on each stage, in the order of the model: shape (pp,)."""
    kinds = kinds_by_layer_id(model)
    return [[kinds[str(layer)] for layer in layers] for layers in stage_layer_ids(model, pp)]


def iteration(stages: Sequence[Sequence[str]], costs: Sequence[StepCost], num_microbatches: int) -> Iteration:
    """Predict one iteration.

    stages: kinds of the parts on each stage. costs: of the parts, as measured on each stage; shape (pp,).
    """
    last = len(stages) - 1
    stage_times = [
        _stage(kinds, cost, first=number == 0, last=number == last)
        for number, (kinds, cost) in enumerate(zip(stages, costs, strict=True))
    ]
    ends_s = pipeline_ends(stage_times, num_microbatches)
    return Iteration(
        total_s=max(end_s + stage.update_s for end_s, stage in zip(ends_s, stage_times, strict=True)),
        forward_s=num_microbatches * sum(stage.forward_s for stage in stage_times),
        backward_s=sum(stage.backward_of(number) for stage in stage_times for number in range(num_microbatches)),
        update_s=max(stage.update_s for stage in stage_times),
    )


def _stage(kinds: Sequence[str], cost: StepCost, *, first: bool, last: bool) -> _Stage:
    parts = [cost.kinds[kind] for kind in kinds]
    return _Stage(
        forward_s=sum(part.forward_s for part in parts) + (cost.after_embedding_s if first else 0.0),
        backward_s=sum(part.backward_s for part in parts) + (cost.after_head_s if last else 0.0),
        accumulate_s=sum(part.accumulate_s or 0.0 for part in parts),
        update_s=sum(part.update_s for part in parts) + cost.overhead_s,
    )


def pipeline_ends(stages: Sequence[_Stage], num_microbatches: int) -> list[float]:
    """Return when each stage ends its last backward, in seconds from the first forward: shape (pp,)."""
    free_s = [0.0] * len(stages)
    done_s: dict[tuple[int, bool, int], float] = {}
    for number, forward, microbatch in _schedule(len(stages), num_microbatches):
        stage = stages[number]
        took_s = stage.forward_s if forward else stage.backward_of(microbatch)
        awaited = (number - 1 if forward else number + 1, forward, microbatch)
        free_s[number] = max(free_s[number], done_s.get(awaited, 0.0)) + took_s
        done_s[number, forward, microbatch] = free_s[number]
    return free_s


def _schedule(pp: int, num_microbatches: int) -> list[tuple[int, bool, int]]:
    """Return (stage, whether it is a forward, microbatch) in an order in which each waits only for earlier ones.

    DeepSpeed's clock: stage s runs the forward of microbatch m at tick 2m + s, its backward at 2m + 2pp - 1 - s.
    """
    ticks = [
        (2 * microbatch + (stage if forward else 2 * pp - 1 - stage), stage, forward, microbatch)
        for stage in range(pp)
        for forward in (True, False)
        for microbatch in range(num_microbatches)
    ]
    return [(stage, forward, microbatch) for _, stage, forward, microbatch in sorted(ticks)]


def peak_bytes(
    stages: Sequence[Sequence[str]],
    kinds: Mapping[str, KindBytes],
    num_microbatches: int,
    precision: Precision,
    optimizer: Optimizer,
) -> int:
    """Predict the highest bytes of a rank over one iteration, on the stage with the most.

    stages: kinds of the parts on each stage.
    """
    per_parameter = lasting_bytes_per_parameter(precision, optimizer)
    peaks = []
    for number, names in enumerate(stages):
        parts = [kinds[name] for name in names]
        retained = _Retained(
            num_microbatches=num_microbatches,
            in_flight=min(num_microbatches, len(stages) - number),
            logits_bytes=parts[-1].act_output_bytes if number == len(stages) - 1 > 0 else 0,
        )
        dropped = precision.fp32_tensors
        highest = max(
            moment for case in retained.cases() for moment in _moments(parts, case, dropped_gradients=dropped)
        )
        peaks.append(per_parameter * sum(part.params_floats for part in parts) + highest)
    return max(peaks)


@dataclass(frozen=True, kw_only=True)
class _Retained:
    """What stays allocated beside the parts of a stage while it runs its microbatches.

    in_flight: microbatches whose activations are kept at once. accumulates: whether gradients of all parts exist before
    a backward: after the first one, whose microbatch is then no longer in flight. logits_bytes: on the last of several
    stages, where DeepSpeed keeps the logits of two microbatches, each until the one after next replaces them.
    Source: deepspeed/runtime/pipe/engine.py, pipe_buffers["outputs"].
    """

    num_microbatches: int
    in_flight: int
    logits_bytes: int
    accumulates: bool = False

    def cases(self) -> Iterator["_Retained"]:
        """Yield the first backward, and a later one if there is one."""
        yield self
        if self.num_microbatches > 1:
            yield replace(self, in_flight=min(self.in_flight, self.num_microbatches - 1), accumulates=True)

    @property
    def logits_in_forward(self) -> int:
        return self.logits_bytes * min(self.num_microbatches - 1, 2)

    @property
    def logits_before(self) -> int:
        return self.logits_bytes * min(self.num_microbatches - 1, 1)

    @property
    def logits_after(self) -> int:
        return self.logits_bytes * min(self.num_microbatches, 2)


def _moments(parts: Sequence[KindBytes], retained: _Retained, *, dropped_gradients: bool) -> Iterator[int]:
    """Yield the bytes of a stage above what lasts, at the highest moment of each phase of each part.

    dropped_gradients: whether gradients come with the backward and go with the update, instead of lasting.
    """
    gradients = [part.params_bytes if dropped_gradients else 0 for part in parts]
    kept = [part.act_mem_bytes for part in parts]
    other_microbatches = (retained.in_flight - 1) * sum(kept)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        input_bytes = parts[index - 1].act_output_bytes if index > 0 else 0
        before = other_microbatches + sum(kept[:index]) + (sum(gradients) if retained.accumulates else 0)
        yield before + retained.logits_in_forward + input_bytes + part.peak_forward_bytes
        before = other_microbatches + sum(kept[: index + 1])
        before += sum(gradients) if retained.accumulates else sum(gradients[index + 1 :])
        before += retained.logits_before if last else retained.logits_after + part.act_output_bytes
        yield before + part.peak_backward_bytes
        yield sum(gradients) + retained.logits_after + part.peak_update_bytes
    yield sum(gradients) + retained.logits_after + GRADIENT_BYTES * sum(part.params_floats for part in parts)
