"""Ranks that run steps of the chain with its marks in turn with the same steps without them."""

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sailor_exp.config.schema import Device
from sailor_exp.stats import relative_half_width, trimmed_mean
from sailor_exp.sweep.messages import Finished
from sailor_exp.sweep.rank_group import RankGroup, server

WARMUP = 4


@dataclass(frozen=True, kw_only=True)
class Asked:
    """overrides: of the cell; rounds: steps of each kind; directory: where each rank leaves its seconds."""

    overrides: tuple[str, ...]
    tp: int
    rounds: int
    directory: Path


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of a step without marks; what the marks add to it, a share, and the half-width of its interval."""

    unmarked_s: float
    share: float
    half_width: float


class Switched:
    """A clock that does nothing while it is off."""

    def __init__(self, clock) -> None:
        self._clock = clock
        self.on = True

    def now(self) -> int | None:
        return self._clock.now() if self.on else None


def marking_cost(directory: Path, overrides: Sequence[str], *, tp: int, rounds: int) -> Cost:
    """Measure it: of each round the slowest rank's two steps; the share is that of their trimmed means."""
    asked = Asked(overrides=(*overrides, f"tp={tp}"), tp=tp, rounds=rounds, directory=directory)
    heard: list[object] = []
    end = RankGroup(server(Device.cpu), tp, stall_s=120, on_message=lambda _, message: heard.append(message)).run(
        run, asked
    )
    assert end is None, (end, heard)
    ranks = [json.loads(path_of(directory, rank).read_text()) for rank in range(tp)]
    marked_s, unmarked_s = ([max(step) for step in zip(*steps, strict=True)] for steps in zip(*ranks, strict=True))
    width = relative_half_width([one / other for one, other in zip(marked_s, unmarked_s, strict=True)])
    share = trimmed_mean(marked_s) / trimmed_mean(unmarked_s) - 1
    return Cost(unmarked_s=trimmed_mean(unmarked_s), share=share, half_width=width or 0.0)


def path_of(directory: Path, rank: int) -> Path:
    return directory / f"marked{rank}.json"


def run(rank: int, pipe, asked: Asked) -> None:
    from sailor_exp.instruments.agreement import RankAgreement
    from sailor_exp.instruments.clock import CpuClock
    from sailor_exp.training.chain import Chain
    from sailor_exp.training.parts import batch_of
    from sailor_exp.training.process_group import join_group
    from tests.build.cells import cell as cell_of

    cell, device = cell_of(*asked.overrides), torch.device("cpu")
    join_group(rank, cell, f"file://{asked.directory / 'rendezvous'}")
    clock = Switched(CpuClock())
    chain, batch, together = Chain(cell, device, clock), batch_of(cell, device), RankAgreement(device)
    marked_s: list[float] = []
    unmarked_s: list[float] = []
    gc.disable()
    for number in range(WARMUP + asked.rounds):
        turns = [(marked_s, chain.step), (unmarked_s, lambda batch: unmarked_step(chain, batch, clock))]
        for seconds, step in reversed(turns) if number % 2 else turns:
            together.maximum([0.0])
            seconds.append(timed(step, batch))
    path_of(asked.directory, rank).write_text(json.dumps([marked_s[WARMUP:], unmarked_s[WARMUP:]]))
    pipe.send(Finished())


def timed(step: Callable[..., object], batch) -> float:
    started = time.perf_counter()
    step(batch)
    return time.perf_counter() - started


def unmarked_step(chain, batch, clock: Switched) -> None:
    """What `chain.step` does, without a mark or a hook."""
    clock.on = False
    hidden = torch.empty(0)
    for part in chain.parts:
        hidden = part(*part.inputs(hidden, batch))
    hidden.backward()
    del hidden
    for part in reversed(chain.parts):
        for parameter in part.parameters() if chain.accumulates else ():
            parameter.grad.add_(parameter.detach(), alpha=0)
    chain.engine.step()
    clock.on = True
