"""Results of `profile=layers`: times and memory of each kind of part, and the published profile file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sailor_exp.config.schema import Cell
from sailor_exp.profiles.layers import profile_file
from sailor_exp.profiles.layers.measurement import Timing
from sailor_exp.profiles.layers.payload import LayersMeasurement
from sailor_exp.profiles.layers.summary import layers_of, memory_of, samples_of, statistics_of
from sailor_exp.profiles.profile import Profile
from sailor_exp.records.record import Outcome, Record
from sailor_exp.units import readable_bytes, readable_seconds, readable_spread

_PHASES = ("forward", "backward", "update")


class LayersProfile(Profile):
    """One profile file a record, written before it: a record that stands has its file."""

    name = "layers"
    keys = ("tp", "mbs")
    columns = ("tp", "mbs", "steps", "converged", "part", *_PHASES, "activations", "peak")
    legend = (
        "Times: trimmed mean over the steps of the slowest rank, ± half-width of the 95 % interval of batch medians.\n"
        "Converged: that interval of the whole step, calibrated, is within the target; otherwise the same command with "
        "a larger\nsampling.max_steps or sampling.budget_s measures again. Memory of one rank: what a part keeps for "
        "its backward,\nand its highest above where it began."
    )

    def content(self, cell: Cell, ranks: Sequence[LayersMeasurement]) -> dict[str, Any]:
        samples = samples_of(cell, ranks)
        return {
            "layers": layers_of(cell),
            "statistics": statistics_of(cell, samples),
            "memory": memory_of(ranks),
            "samples": samples,
        }

    def relative_half_width(self, record: Record) -> float | None:
        return record.statistics.relative_half_width if record.statistics else None

    def before_writing(self, record: Record, profile_dir: Path) -> None:
        if record.outcome is Outcome.ok:
            profile_file.write(record, profile_dir)
        else:
            profile_file.discard(record, profile_dir)

    def written(self, record: Record, profile_dir: Path) -> None:
        if record.outcome is Outcome.ok:
            profile_file.keep(record, profile_dir)

    def one_line(self, record: Record) -> str:
        if record.statistics is None:
            return ""
        statistics = record.statistics
        step = f"step {readable_seconds(statistics.step.median_s)} {readable_spread(statistics.relative_half_width)}"
        doubt = "" if statistics.converged else f", not converged to {100 * statistics.target:g}%"
        return f"{step}, median of {statistics.steps}{doubt}"

    def rows(self, record: Record) -> Iterator[list[str]]:
        statistics, memory, identity = record.statistics, record.memory, record.identity
        if statistics is None or memory is None:
            return
        doubt = f"[yellow]no, {readable_spread(statistics.relative_half_width)}[/]"
        head = [str(identity.tp), str(identity.mbs), str(statistics.steps), "yes" if statistics.converged else doubt]
        for kind, phases in statistics.kinds.items():
            counts = memory.kinds[kind]
            peak = max(counts.peak_forward_bytes, counts.peak_backward_bytes, counts.peak_update_bytes)
            times = [_time(timing) for timing in (phases.forward, phases.backward, phases.update)]
            yield [*head, kind, *times, readable_bytes(counts.act_mem_bytes), readable_bytes(peak)]
            head = [""] * len(head)


def _time(timing: Timing) -> str:
    return f"{readable_seconds(timing.value_s)} {readable_spread(timing.relative_half_width)}"


PROFILE = LayersProfile()
