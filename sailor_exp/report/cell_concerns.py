"""Concerns about the cells.

They are lost, not converged, implausible, skewed, nearly full, out of memory or mispredicted.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from sailor_exp.exporters.plausible.rating import Verdict
from sailor_exp.exporters.plausible.suspicions import suspicions_of
from sailor_exp.profiles.check.comparison import quantity_name
from sailor_exp.profiles.layers.measurement import Statistics, Timing
from sailor_exp.profiles.layers.published import CellKey
from sailor_exp.records.record import Outcome
from sailor_exp.report.concern import Concern, Weight, counted, measure_command, named
from sailor_exp.report.content import Content
from sailor_exp.report.drawing.figures import percent
from sailor_exp.units import readable_seconds

NEAR_FULL = 0.9
"""Share of a cell's memory limit above which the report names the cell as nearly full."""

SKEWED = 0.1
"""Share of a step that the fastest rank waits for the slowest, above which the report names the cell."""

_MOST_TIMES_LONGER = 10.0
_LONGEST_MESSAGE = 300
_REMEDIES = {
    None: "Sailor's simulator takes a cell that is not there for 0 s. Measure what is missing:",
    Outcome.failed: "Read the log that the message names, mend its cause, and measure again:",
    Outcome.timeout: "A rank was silent for too long. Look at its log for where it stopped, then measure again, with a "
    "larger stall_s=... if it was only slow:",
}


def _lost(content: Content) -> Iterator[Concern]:
    by_outcome: dict[Outcome | None, list[CellKey]] = {}
    for key, outcome in content.grid.lost().items():
        by_outcome.setdefault(outcome, []).append(key)
    for outcome, cells in by_outcome.items():
        why = "were not measured" if outcome is None else f"ended as {outcome}"
        if len(cells) == 1:
            why = why.replace("were", "was")
        yield Concern(
            weight=Weight.missing,
            title=f"{counted(cells)} {why}: {named(cells)}",
            details=tuple(f"{key}: {text}" for key in cells if (text := _ending(content, key))),
            remedy=_REMEDIES[outcome],
            command=measure_command(content, cells),
        )


def _ending(content: Content, key: CellKey) -> str | None:
    record = content.records[key][1] if key in content.records else None
    if record is None or record.ending is None:
        return None
    ending = record.ending
    message = ending.message.strip()
    short = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}..."
    return f"{short} (log: {ending.log})" if ending.log else short


def _unconverged(content: Content) -> Iterator[Concern]:
    cells = [key for key, cell in content.measured.items() if not cell.statistics.converged]
    if not cells:
        return
    yield Concern(
        weight=Weight.doubtful,
        title=f"{counted(cells)} did not converge: {named(cells)}",
        details=tuple(_width(content, key) for key in cells),
        remedy="The numbers stand, and their intervals say how far they can be trusted. Intervals narrow with the root "
        "of the steps: sample longer, or on a quieter machine:",
        command=measure_command(content, cells, *_longer(content, cells)),
    )


def _width(content: Content, key: CellKey) -> str:
    statistics = content.measured[key].statistics
    width = statistics.relative_half_width
    interval = "too few steps for an interval" if width is None else f"±{percent(width)} for {_step(statistics)}"
    return f"{key}: {interval} after {statistics.steps} steps, target ±{percent(statistics.target)}"


def _step(statistics: Statistics) -> str:
    return "the step" if statistics.calibrated is False else "the calibrated step"


def _longer(content: Content, cells: Iterable[CellKey]) -> list[str]:
    """Return the overrides with the steps and the time that the worst of the cells needs."""
    steps, budget_s = 0, 0.0
    for key in cells:
        statistics, sampling = content.measured[key].statistics, content.provenance[key].sampling
        width = statistics.relative_half_width
        factor = (
            4.0
            if width is None or not statistics.target
            else min(max((width / statistics.target) ** 2, 1.5), _MOST_TIMES_LONGER)
        )
        steps = max(steps, math.ceil(statistics.steps * factor / 100) * 100)
        step_s = statistics.step.value_s
        budget_s = max(budget_s, sampling.get("budget_s", 60.0), math.ceil(steps * step_s * 1.5 / 60) * 60)
    return [f"sampling.max_steps={steps}", f"sampling.budget_s={budget_s:.0f}"]


def _shrinking(content: Content) -> Iterator[Concern]:
    """Yield a concern about cells that took less time than one of a smaller microbatch, beyond both intervals."""
    suspects = []
    for tp in content.tps:
        row = [cell for key, cell in content.measured.items() if key.tp == tp]
        for smaller, larger in pairwise(row):
            low, high = smaller.statistics.step, larger.statistics.step
            least = low.value_s * (1 - (low.relative_half_width or 0))
            if high.value_s * (1 + (high.relative_half_width or 0)) < least:
                suspects += [smaller.key, larger.key]
    if suspects:
        cells = list(dict.fromkeys(suspects))
        yield Concern(
            weight=Weight.doubtful,
            title=f"A larger microbatch took less time than a smaller one: {named(cells)}",
            remedy="One of each pair was measured while something else ran. Measure both again:",
            command=measure_command(content, cells, "force=true"),
        )


_WEIGHTS = {Verdict.above: Weight.doubtful, Verdict.slow: Weight.note}


def _implausible(content: Content) -> Iterator[Concern]:
    """Yield a concern about times above the peak of the GPU, and one about times far below both of its limits."""
    for suspicion in suspicions_of(content.config, {key: cell.times for key, cell in content.grid.cells.items()}):
        yield Concern(
            weight=_WEIGHTS[suspicion.verdict],
            title=suspicion.title,
            details=suspicion.details,
            remedy=f"{suspicion.advice} To measure again:",
            command=measure_command(content, suspicion.cells, "force=true"),
        )


def _skewed(content: Content) -> Iterator[Concern]:
    cells = [
        key
        for key, cell in content.measured.items()
        if cell.statistics.step.skew_s > SKEWED * cell.statistics.step.value_s
    ]
    if cells:
        yield Concern(
            weight=Weight.note,
            title=f"One rank is slower than the others in {counted(cells)}: {named(cells)}",
            details=(f"Slowest and fastest rank of a step lie more than {percent(SKEWED)} of it apart.",),
            remedy="Look for another process on one of the devices, for one that runs hot, or for ranks that share "
            "cores, and measure again:",
            command=measure_command(content, cells, "force=true"),
        )


def _launch_bound(content: Content) -> Iterator[Concern]:
    """Yield a concern about phases that take no longer than the host needs to launch them."""
    phases = {key: list(_bound_phases(cell.statistics)) for key, cell in content.measured.items()}
    cells = [key for key, bound in phases.items() if bound]
    if cells:
        yield Concern(
            weight=Weight.note,
            title=f"Launches bind the time of some parts in {counted(cells)}: {named(cells)}",
            details=tuple(f"{key}: {', '.join(phases[key])}" for key in cells),
            remedy="The device is done with them as soon as the host has launched them, or sooner. So their time is "
            "also that of this host's cores, and training is slower than their sum where its queue of launches runs "
            "empty. A larger microbatch has more work for each launch.",
        )


def _bound_phases(statistics: Statistics) -> Iterator[str]:
    for kind, phases in statistics.kinds.items():
        for name in ("forward", "backward", "update"):
            timing: Timing = getattr(phases, name)
            if timing.launch_bound and timing.launch_s is not None:
                took, launched = readable_seconds(timing.median_s), readable_seconds(timing.launch_s)
                yield f"{kind} {name} {took}, launched in {launched}"


def _nearly_full(content: Content) -> Iterator[Concern]:
    cells = [
        key
        for key, cell in content.measured.items()
        if max(cell.memory.peak_bytes, cell.memory.reserved_bytes or 0) > NEAR_FULL * cell.gpu_bytes
    ]
    if cells:
        yield Concern(
            weight=Weight.note,
            title=f"{counted(cells)} filled more than {percent(NEAR_FULL)} of the memory that "
            f"they were given: {named(cells)}",
            remedy="An allocator that is near its limit frees and asks again, which takes time that a smaller cell "
            "does not pay. Read these times as upper bounds.",
        )


def _allocated_anew(content: Content) -> Iterator[Concern]:
    """Yield a concern about cells in whose steps CUDA's allocator freed its cache and asked the driver again."""
    retries = {key: cell.memory.alloc_retries for key, cell in content.measured.items() if cell.memory.alloc_retries}
    if retries:
        yield Concern(
            weight=Weight.doubtful,
            title=f"The allocator found no memory and freed its cache in {counted(retries)}: {named(retries)}",
            details=tuple(
                f"{key}: {count} times in {content.measured[key].statistics.steps} steps"
                for key, count in retries.items()
            ),
            remedy="Each time the device stands still, and that is in these times: read them as upper bounds. A "
            "smaller microbatch or a larger tp does not pay for it.",
        )


def _out_of_memory(content: Content) -> Iterator[Concern]:
    cells = [key for key, (_, record) in content.records.items() if record.outcome is Outcome.oom]
    if cells:
        yield Concern(
            weight=Weight.note,
            title=f"{counted(cells)} ran out of memory: {named(cells)}",
            details=tuple(f"{key}: {text}" for key in cells if (text := _ending(content, key))),
            remedy="That is a result: planners leave such cells out. A larger tp holds less on each GPU.",
        )


def wrong_predictions(content: Content, error_limit: float | None) -> Iterator[Concern]:
    """Yield a concern about the predictions whose relative error is above a limit."""
    if error_limit is None:
        return
    wrong = [
        (CellKey(cell.identity.tp or 0, cell.identity.mbs or 0), row)
        for cell in content.checked
        for row in cell.rows
        if abs(row.error) > error_limit
    ]
    cells = list(dict.fromkeys(key for key, _ in wrong))
    if wrong:
        yield Concern(
            weight=Weight.doubtful,
            title=f"The sum of the parts is more than {percent(error_limit)} off in {counted(cells)}: {named(cells)}",
            details=tuple(f"{key}, {quantity_name(row)}: {row.error:+.1%}" for key, row in wrong),
            remedy="docs/accuracy.md names the causes that are known. A plan that rests on these cells is off by as "
            "much.",
        )


LOOKS: tuple[Callable[[Content], Iterator[Concern]], ...] = (
    _lost,
    _unconverged,
    _shrinking,
    _implausible,
    _skewed,
    _launch_bound,
    _nearly_full,
    _allocated_anew,
    _out_of_memory,
)
