"""`profile=layers`: times and memory of each kind of part, and the published profile file."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell
from sailor_exp.profiles.layers import profile_file
from sailor_exp.profiles.layers.measurement import (
    ChainShare,
    LayersMeasurement,
    PartMemory,
    Timing,
    joined_samples,
    largest_memory,
)
from sailor_exp.profiles.layers.summary import statistics_of
from sailor_exp.profiles.profile import Column, Profile
from sailor_exp.records.record import Outcome, Record
from sailor_exp.units import readable_bytes, readable_seconds, readable_spread

_PHASES = ("forward", "backward", "update")


class LayersProfile(Profile[ChainShare, LayersMeasurement]):
    """Each record has one profile file, which is written before it: an existing record has its file."""

    name = "layers"
    method = 2
    schema = LayersMeasurement
    keys = ("tp", "mbs")
    columns = (
        *map(Column, ("tp", "mbs", "steps", "converged")),
        Column("part", "left"),
        *map(Column, (*_PHASES, "activations", "peak")),
    )
    legend = (
        "Times: trimmed mean over the steps of the slowest rank, ± half-width of the 95 % interval of batch medians.\n"
        "Converged: that interval of the whole step, calibrated where that narrows it, is within the target; otherwise "
        "the same\ncommand with a larger sampling.max_steps or sampling.budget_s measures again. Memory of one rank: "
        "what a part keeps for\nits backward, and its highest above where it began."
    )
    tidy_columns: ClassVar[Mapping[str, type]] = {
        "part": str,
        "phase": str,
        "median_s": float,
        "value_s": float,
        "relative_half_width": float,
        "skew_s": float,
        "launch_s": float,
        "launch_bound": bool,
        "count": int,
        "converged": bool,
        **dict.fromkeys(PartMemory.model_fields, int),
    }

    def measurement(self, cell: Cell, shares: Sequence[ChainShare]) -> LayersMeasurement:
        samples = joined_samples([share.samples for share in shares])
        return LayersMeasurement(
            layers=kinds_by_layer_id(cell.model),
            statistics=statistics_of(cell, samples),
            memory=largest_memory([share.memory for share in shares]),
            samples=samples,
            kernels=shares[0].kernels,
        )

    def relative_half_width(self, measured: LayersMeasurement) -> float | None:
        return measured.statistics.relative_half_width

    def before_writing(self, record: Record[LayersMeasurement], profile_dir: Path) -> None:
        if record.outcome is Outcome.ok:
            profile_file.write(record, profile_dir)
        else:
            profile_file.discard(record, profile_dir)

    def written(self, record: Record[LayersMeasurement], profile_dir: Path) -> None:
        if record.outcome is Outcome.ok:
            profile_file.keep(record, profile_dir)

    def one_line(self, measured: LayersMeasurement) -> str:
        statistics = measured.statistics
        step = f"step {readable_seconds(statistics.step.median_s)} {readable_spread(statistics.relative_half_width)}"
        doubt = "" if statistics.converged else f", not converged to {100 * statistics.target:g}%"
        return f"{step}, median of {statistics.steps}{doubt}"

    def rows(self, record: Record[LayersMeasurement]) -> Iterator[list[str]]:
        statistics, memory, identity = record.measured.statistics, record.measured.memory, record.identity
        doubt = f"[yellow]no, {readable_spread(statistics.relative_half_width)}[/]"
        head = [str(identity.tp), str(identity.mbs), str(statistics.steps), "yes" if statistics.converged else doubt]
        for kind, phases in statistics.kinds.items():
            counts = memory.kinds[kind]
            peak = max(counts.peak_forward_bytes, counts.peak_backward_bytes, counts.peak_update_bytes)
            times = [_time(timing) for timing in (phases.forward, phases.backward, phases.update)]
            yield [*head, kind, *times, readable_bytes(counts.act_mem_bytes), readable_bytes(peak)]
            head = [""] * len(head)

    def tidy(self, measured: LayersMeasurement) -> Iterator[Mapping[str, Any]]:
        """Yield a row for each kind of part and phase; `count` is the steps behind its statistic."""
        statistics = measured.statistics
        for part, phases in statistics.kinds.items():
            memory = measured.memory.kinds[part].model_dump() if part in measured.memory.kinds else {}
            timings = {name: getattr(phases, name) for name in (*_PHASES, "overhead", "accumulate")}
            for phase, timing in timings.items():
                if timing is not None:
                    yield {
                        "part": part,
                        "phase": phase,
                        **timing.model_dump(),
                        "count": statistics.steps,
                        "converged": statistics.converged,
                        **memory,
                    }


def _time(timing: Timing) -> str:
    return f"{readable_seconds(timing.value_s)} {readable_spread(timing.relative_half_width)}"


PROFILE = LayersProfile()
