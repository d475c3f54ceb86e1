"""`exporter=sailor`: merges the records of a model and GPU into Sailor's three files; check=true checks them."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from sailor_exp.errors import NothingMeasuredError, SailorExpError
from sailor_exp.exporters.exporter import Export, Exporter
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.needs import gathered
from sailor_exp.exporters.plausible.suspicions import suspicions_of
from sailor_exp.exporters.sailor import accuracy, coverage
from sailor_exp.exporters.sailor.grid import PROFILE, Grid, grid_of, unknown_precision
from sailor_exp.exporters.sailor.merge import Merged, merge
from sailor_exp.exporters.sailor.shape import Source, check_shape
from sailor_exp.profiles.layers import profile_file
from sailor_exp.profiles.layers.measurement import LayersMeasurement
from sailor_exp.records.files import read_all
from sailor_exp.records.record import Record


def files(inputs: Inputs) -> Export:
    """Return the database with the records of the model and GPU merged into it.

    Raises NothingMeasuredError where there are no records, MixedRecordsError, RecordError, LayerIdsError,
    MixedShapesError, DamagedFileError, LockError.
    """
    grid = measured_grid(inputs, read_all(Path(inputs.config.profile_dir), PROFILE, LayersMeasurement))
    suspicions = suspicions_of(inputs.config, {key: cell.times for key, cell in grid.cells.items()})
    for warning in (*grid.warnings, *(suspicion.text for suspicion in suspicions)):
        warnings.warn(warning, stacklevel=2)
    shown = [f"{inputs.model.name} on {inputs.gpu}, from {inputs.config.profile_dir}/", coverage.shown(grid)]
    if grid.foreign:
        shown.append("* from a profile file of another tool")
    checked = _checked(inputs) if inputs.config.check else Export(files={})
    if not grid.cells:
        lacks = "no cell has numbers: nothing was written to the database"
        return replace(checked, shown=(*shown, *checked.shown), lacking=(lacks, *checked.lacking))
    check_shape(inputs.model, _sources(inputs, grid))
    merged = merge(inputs.place, inputs.model, grid.cells, grid.without_numbers(), inputs.shared)
    if merged.stayed and not inputs.config.gpu.without_tf32:
        stayed = f"{len(merged.stayed)} cells that stayed in the database have no record here"
        warnings.warn(unknown_precision(inputs.config, stayed), stacklevel=2)
    return Export(
        files={**merged.files, **checked.files},
        shown=(*shown, *_changes(merged), *checked.shown),
        lacking=(*coverage.lacking(grid, merged.memory_tps, inputs.advice), *checked.lacking),
    )


def measured_grid(inputs: Inputs, records: Iterable[tuple[Path, Record[LayersMeasurement]]]) -> Grid:
    """Return the grid of the records and of the profile files beside them.

    Raises NothingMeasuredError where no cell was measured, and the errors of `grid_of`.
    """
    config = inputs.config
    profile_dir = Path(config.profile_dir)
    grid = grid_of(config, records, profile_file.read_all(profile_dir, config.model, config.gpu.name))
    if not grid.outcomes:
        raise nothing_measured(inputs)
    return grid


def _sources(inputs: Inputs, grid: Grid) -> Iterator[Source]:
    for key, cell in grid.cells.items():
        of_record = grid.records.get(key)
        name = of_record or f"the profile file of {key} in {inputs.config.profile_dir}/"
        yield Source(name=str(name), tp=key.tp, memory=cell.memory)


def nothing_measured(inputs: Inputs) -> NothingMeasuredError:
    """Return the error for a profile directory that holds nothing of the model and GPU."""
    command = inputs.advice.measure([(tp, mbs) for tp in (1, 2, 4) for mbs in (1, 2, 4, 8)])
    profile_dir = Path(inputs.config.profile_dir)
    return NothingMeasuredError(profile_dir, model=inputs.model.name, gpu=inputs.gpu, command=command)


def _changes(merged: Merged) -> list[str]:
    changes = [f"llm_info.json changed: {difference}" for difference in merged.differences]
    if merged.stayed:
        changes.append(f"stayed as they were in the database: {', '.join(str(key) for key in merged.stayed)}")
    return changes


def _checked(inputs: Inputs) -> Export:
    """Return the table of predicted and measured training steps, and the records above the limit.

    A fault in the checks does not stop the export of the database.
    """
    config, limit = inputs.config, inputs.config.check_limit
    try:
        cells = list(accuracy.checked_cells(config))
    except SailorExpError as error:
        return Export(files={}, lacking=(f"check=true: {error}",))
    if not cells:
        command = inputs.advice.profile("check")
        lacks = f"check=true: no training steps were measured in {config.profile_dir}/. Measure with `{command}`"
        return Export(files={}, lacking=(lacks,))
    path = inputs.place.root / "checks" / inputs.model.name / f"{inputs.gpu}.csv"
    return Export(
        files={path: accuracy.as_csv(cells, limit)},
        shown=(accuracy.as_text(cells, limit),),
        lacking=tuple(accuracy.complaints(cells, limit)),
    )


EXPORTER = Exporter(files=files, needs=gathered)
