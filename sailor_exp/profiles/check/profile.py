"""Results of `profile=check`: what the parts predict of a real training step, and what that takes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sailor_exp.config.architecture import kinds_by_layer_id
from sailor_exp.config.schema import Cell, sampling_target
from sailor_exp.config.stages import too_few_layers
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
from sailor_exp.profiles.check.measurement import CheckMeasurement, FullSamples, Prediction
from sailor_exp.profiles.check.payload import CheckSeconds
from sailor_exp.profiles.check.prediction import peak_bytes, stage_kinds
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.layers.costs import counting, step_seconds
from sailor_exp.profiles.layers.summary import memory_of, samples_of
from sailor_exp.profiles.profile import Profile
from sailor_exp.records import files as record_files
from sailor_exp.records.identity import Identity
from sailor_exp.records.record import Outcome, Record
from sailor_exp.stats import slowest_rank
from sailor_exp.units import readable_bytes, readable_seconds, readable_spread

_FULL = tuple(FullSamples.model_fields)

_KEYS = ("method", "model", "tp", "mbs", "precision", "optimizer", "attention")


class CheckProfile(Profile):
    """Predictions from the chain that ran in turn with the full model, and from the cell's record of layers."""

    name = "check"
    keys = ("pp", "tp", "mbs", "num_microbatches")
    columns = ("pp", "tp", "mbs", "num_microbatches", "predicted from", "of a step", "predicted", "measured", "error")
    legend = (
        "A training step of the full model: trimmed means, ± half-width of the 95 % interval of batch medians; the\n"
        "error is predicted / measured - 1. Interleaved: from steps of the chain, in turn with the full model's.\n"
        "Earlier: from the record of profile=layers, at the calibration kernel's speed now. Peak: of the largest rank."
    )

    def infeasibility(self, cell: Cell) -> str | None:
        ranks, gpus = cell.pp * cell.tp, cell.vm.gpus
        if ranks > gpus:
            return f"pp={cell.pp} tp={cell.tp} takes {ranks} GPUs; vm={gpus} has {gpus}"
        if too_few_layers(cell.model, cell.pp):
            return f"{cell.model.num_layers} layers leave one of pp={cell.pp} stages empty"
        return None

    def content(self, cell: Cell, ranks: Sequence[CheckSeconds]) -> dict[str, Any]:
        measured = _measurement(cell, ranks)
        made = (each for _, each in record_files.read_all(Path(cell.profile_dir), "layers"))
        before = earlier_record(identity_of(cell), made)
        predictions = [_interleaved(cell, measured), *([earlier(measured, before)] if before else [])]
        return {
            "layers": kinds_by_layer_id(cell.model),
            "measurement": measured.model_copy(update={"predictions": predictions}),
        }

    def relative_half_width(self, record: Record) -> float | None:
        return check_of(record).relative_half_width

    def one_line(self, record: Record) -> str:
        check = check_of(record)
        step = f"step {readable_seconds(check.measured['total'].value_s)}"
        errors = [f"{each.source} {_error(each)}" for each in comparisons(check) if each.quantity == "total"]
        return ", predicted ".join([step, *errors])

    def rows(self, record: Record) -> Iterator[list[str]]:
        head = [str(value) for value in record.identity.cell_keys.values()]
        source = None
        for row in comparisons(check_of(record)):
            first = row.source != source
            yield [*head, row.source if first else "", row.quantity, _predicted(row), _measured(row), _error(row)]
            head, source = [""] * len(head), row.source


def check_of(record: Record) -> CheckMeasurement:
    """Return what an ok record of this profile measured. Raises TypeError for another one."""
    if not isinstance(record.measurement, CheckMeasurement):
        raise TypeError(f"{record.file_name} is no record of a check")
    return record.measurement


def earlier_record(check: Identity, layers: Iterable[Record]) -> Record | None:
    """Of records of `profile=layers` the newest ok one of the cell that a check is of, or None."""
    found = [made for made in layers if _of_one_cell(made, check)]
    return max(found, key=lambda made: made.provenance.finished_at, default=None)


def _of_one_cell(layers: Record, check: Identity) -> bool:
    of_layers = layers.identity
    alike = all(getattr(of_layers, key) == getattr(check, key) for key in _KEYS)
    return layers.outcome is Outcome.ok and alike and _device(of_layers) == _device(check)


def _device(identity: Identity) -> dict[str, Any]:
    return {key: value for key, value in identity.gpu.items() if key != "memory_gb"}


def _measurement(cell: Cell, ranks: Sequence[CheckSeconds]) -> CheckMeasurement:
    """Everything but the predictions."""
    chain = samples_of(cell, [rank.chain for rank in ranks])
    full = FullSamples(**{times: [getattr(rank.full, times) for rank in ranks] for times in _FULL})
    rule = _rule(cell, ranks)
    stages = stage_kinds(cell.model, cell.pp)
    return CheckMeasurement(
        stages=stages,
        num_microbatches=cell.num_microbatches,
        chain=chain,
        full=full,
        steps=len(full.total_s[0]) - chain.warmup,
        converged=rule.converged(),
        target=rule.target,
        relative_half_width=rule.half_width(),
        measured=estimates(measured_iterations(full, len(stages))[chain.warmup :]),
        exchange=estimate(slowest_rank(counting(chain, full.exchange_s))),
        kinds={kind: counts.model_dump() for kind, counts in memory_of([rank.chain for rank in ranks]).kinds.items()},
        peak_bytes=[rank.peak_bytes for rank in ranks],
        predictions=[],
    )


def _rule(cell: Cell, ranks: Sequence[CheckSeconds]) -> StoppingRule:
    """Return the rule that the ranks stopped by, with the steps that it has seen."""
    chain = samples_of(cell, [rank.chain for rank in ranks])
    rounds_s = [
        [sum(step) for step in zip(chain_s, rank.full.total_s, rank.full.exchange_s, strict=True)]
        for chain_s, rank in zip(step_seconds(chain), ranks, strict=True)
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
