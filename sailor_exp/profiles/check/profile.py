"""`profile=check`: a real training step, and its predictions from the parts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.config.stages import beyond_one_machine, too_few_layers
from sailor_exp.instruments.sampling import StepTimes, StoppingRule
from sailor_exp.profiles.check.comparison import (
    PEAK,
    Comparison,
    comparisons,
    earlier,
    estimate,
    estimates,
    interleaved,
    kind_bytes,
    measured_iterations,
    predicted_iterations,
)
from sailor_exp.profiles.check.measurement import CheckMeasurement, CheckShare, FullSamples, Prediction, joined_full
from sailor_exp.profiles.check.prediction import peak_bytes, stage_kinds
from sailor_exp.profiles.grids import Grid, powers_up_to
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.layers.costs import counting, step_seconds
from sailor_exp.profiles.layers.measurement import LayersMeasurement, Samples, joined_samples, largest_memory
from sailor_exp.profiles.profile import Column, Profile
from sailor_exp.profiles.registry import profile_named
from sailor_exp.records.files import read_all
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome, Record
from sailor_exp.records.selection import belongs, select
from sailor_exp.stats import slowest_rank
from sailor_exp.units import readable_bytes, readable_seconds, readable_spread


class CheckProfile(Profile[CheckShare, CheckMeasurement]):
    """Predicts from the chain that ran in turn with the full model, and from the cell's record of `layers`."""

    name = "check"
    method = 2
    schema = CheckMeasurement
    keys = ("pp", "tp", "mbs", "num_microbatches")
    columns = (
        *map(Column, keys),
        Column("predicted from", "left"),
        Column("of a step", "left"),
        *map(Column, ("predicted", "measured", "error")),
    )
    legend = (
        "A training step of the full model: trimmed means, ± half-width of the 95 % interval of batch medians; the\n"
        "error is predicted / measured - 1. Interleaved: from steps of the chain, in turn with the full model's.\n"
        "Earlier: from the record of profile=layers, at the calibration kernel's speed now. Peak: of the largest rank."
    )
    tidy_columns: ClassVar[Mapping[str, type]] = {
        "predicted_from": str,
        "quantity": str,
        "unit": str,
        "value": float,
        "relative_half_width": float,
        "predicted": float,
        "predicted_half_width": float,
        "error": float,
        "error_half_width": float,
        "count": int,
        "converged": bool,
    }

    def infeasibility(self, cell: Cell) -> str | None:
        if too_few_layers(cell.model, cell.pp):
            too_few = f"{cell.model.num_layers} layers leave one of pp={cell.pp} stages empty"
        else:
            too_few = None
        return beyond_one_machine(cell.pp, cell.tp, cell.vm.gpus) or too_few

    def measurement(self, cell: Cell, shares: Sequence[CheckShare]) -> CheckMeasurement:
        measured = _measurement(cell, shares)
        layers = (record for _, record in read_all(Path(cell.profile_dir), "layers", LayersMeasurement))
        layers_record = earlier_record(identity_of(cell), layers)
        predictions = [_interleaved(cell, measured), *([earlier(measured, layers_record)] if layers_record else [])]
        return measured.model_copy(update={"predictions": predictions})

    def relative_half_width(self, measured: CheckMeasurement) -> float | None:
        return measured.relative_half_width

    def one_line(self, measured: CheckMeasurement) -> str:
        step = f"step {readable_seconds(measured.measured['total'].value_s)}"
        errors = [f"{row.source} {_error(row)}" for row in comparisons(measured) if row.quantity == "total"]
        return ", predicted ".join([step, *errors])

    def rows(self, record: Record[CheckMeasurement]) -> Iterator[list[str]]:
        head = [str(value) for value in record.identity.cell_keys.values()]
        source = None
        for row in comparisons(record.measured):
            first = row.source != source
            yield [*head, row.source if first else "", row.quantity, _predicted(row), _measured(row), _error(row)]
            head, source = [""] * len(head), row.source

    def tidy(self, measured: CheckMeasurement) -> Iterator[Mapping[str, Any]]:
        """Yield a row for each prediction and quantity: `value` is what was measured; `count` the steps."""
        for row in comparisons(measured):
            yield {
                "predicted_from": row.source,
                "quantity": row.quantity,
                "unit": "bytes" if row.quantity == PEAK else "s",
                "value": row.measured,
                "relative_half_width": row.measured_half_width,
                "predicted": row.predicted,
                "predicted_half_width": row.predicted_half_width,
                "error": row.error,
                "error_half_width": row.error_half_width,
                "count": measured.steps,
                "converged": measured.converged,
            }

    def grids(self, vm: int) -> list[Grid]:
        return [{"tp": powers_up_to(vm), "mbs": [1]}]


def earlier_record(check: Identity, layers: Iterable[Record[LayersMeasurement]]) -> Record[LayersMeasurement] | None:
    """Return the record of `profile=layers` that counts for the cell of a check; None where it has no numbers.

    Numbers of an older method are not comparable with the check's, so they count as none.
    """
    candidates = (
        record
        for record in layers
        if (record.identity.tp, record.identity.mbs) == (check.tp, check.mbs) and belongs(record.identity, check)
    )
    counting = next(iter(select(candidates).counting), None)
    if counting is None or counting.outcome is not Outcome.ok:
        return None
    return counting if counting.identity.method == profile_named("layers").method else None


def _measurement(cell: Cell, shares: Sequence[CheckShare]) -> CheckMeasurement:
    """Return the measurement without its predictions."""
    chain = joined_samples([share.chain.samples for share in shares])
    full = joined_full([share.full for share in shares])
    rule = _rule(cell, chain, full)
    stages = stage_kinds(cell.model, cell.pp)
    kinds = largest_memory([share.chain.memory for share in shares]).kinds
    return CheckMeasurement(
        layers=kinds_by_layer_id(cell.model),
        stages=stages,
        num_microbatches=cell.num_microbatches,
        chain=chain,
        full=full,
        steps=len(full.total_s[0]) - chain.warmup,
        converged=rule.converged(),
        target=rule.target,
        relative_half_width=rule.half_width(),
        calibrated=rule.calibrated(),
        measured=estimates(measured_iterations(full, len(stages))[chain.warmup :]),
        exchange=estimate(slowest_rank(counting(chain, full.exchange_s))),
        kinds={kind: counts.model_dump() for kind, counts in kinds.items()},
        peak_bytes=[share.peak_bytes for share in shares],
        predictions=[],
    )


def _rule(cell: Cell, chain: Samples, full: FullSamples) -> StoppingRule:
    """Return the rule by which the ranks stopped, with the steps that count."""
    rounds_s = [
        [sum(step) for step in zip(chain_s, total_s, exchange_s, strict=True)]
        for chain_s, total_s, exchange_s in zip(step_seconds(chain), full.total_s, full.exchange_s, strict=True)
    ]
    rule = StoppingRule(cell.sampling, sampling_target(cell))
    calibration_s = slowest_rank(counting(chain, chain.calibration_s))
    for step_s, kernel_s in zip(slowest_rank(counting(chain, rounds_s)), calibration_s, strict=True):
        rule.add(StepTimes(step_s=step_s, calibration_s=kernel_s))
    return rule


def _interleaved(cell: Cell, check: CheckMeasurement) -> Prediction:
    counts = {kind: kind_bytes(counts) for kind, counts in check.kinds.items()}
    return interleaved(
        predicted_iterations(check.chain, check.stages, cell.num_microbatches, staged=True),
        measured_iterations(check.full, len(check.stages))[check.chain.warmup :],
        predicted_peak=peak_bytes(check.stages, counts, cell.num_microbatches, cell.precision, cell.optimizer),
        measured_peak=max(check.peak_bytes),
    )


def _predicted(row: Comparison) -> str:
    return _figure(row.quantity, row.predicted, row.predicted_half_width)


def _measured(row: Comparison) -> str:
    return _figure(row.quantity, row.measured, row.measured_half_width)


def _figure(quantity: str, value: float, half_width: float | None) -> str:
    if quantity == PEAK:
        return readable_bytes(int(value))
    return f"{readable_seconds(value)} {readable_spread(half_width)}"


def _error(row: Comparison) -> str:
    percent = f"{100 * row.error:+.1f}%"
    return percent if row.error_half_width is None else f"{percent} ± {100 * row.error_half_width:.1f}"


PROFILE = CheckProfile()
