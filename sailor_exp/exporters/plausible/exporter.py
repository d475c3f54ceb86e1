"""`exporter=plausible`: every time of the gathered database beside what the GPU can do, as comma-separated values.

It reads the database and not the records, so it also works on profiles that were measured elsewhere.
"""

import csv
import io
import warnings
from collections.abc import Iterable
from typing import Any

from sailor_exp.exporters.exporter import Export, Exporter
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.needs import gathered
from sailor_exp.exporters.plausible.suspicions import JudgedTime, configured_peak, judged, suspicions

_COLUMNS = (
    "model", "gpu", "precision", "tp", "mbs", "layer", "part", "phase", "seconds", "flops", "bytes",
    "flops_per_s", "bytes_per_s", "share_of_peak", "share_of_bandwidth", "times_its_limit", "verdict",
)  # fmt: skip


def files(inputs: Inputs) -> Export:
    """Return the table of all times of the model and GPU, and warn of those that are not plausible.

    Raises MissingInputError where nothing was gathered, DamagedFileError, LayerIdsError, MixedShapesError.
    """
    times = list(judged(inputs.config, {key: inputs.times(tp=key.tp, mbs=key.mbs) for key in inputs.cells}))
    if configured_peak(inputs.config) is None:
        warnings.warn(f"no peak of {inputs.gpu} is known (sailor_exp/config/peaks.py): no time is judged", stacklevel=2)
    for suspicion in suspicions(inputs.config, times):
        warnings.warn(suspicion.text, stacklevel=2)
    path = inputs.place.root / "plausible" / inputs.model.name / f"{inputs.gpu}.csv"
    marked = sum(time.rating.verdict is not None for time in times)
    return Export(files={path: as_csv(inputs, times)}, summary=f"{marked} of {len(times)} times are marked, in {path}")


def as_csv(inputs: Inputs, times: Iterable[JudgedTime]) -> bytes:
    """Return a row for each cell, layer and phase, UTF-8, with a header; an absent value is an empty field.

    Seconds are of one rank and one microbatch; operations and bytes are the least that the part needs. `verdict` is
    `above`, `slow` or empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(inputs, time) for time in times)
    return text.getvalue().encode()


def _row(inputs: Inputs, time: JudgedTime) -> dict[str, Any]:
    rating = {name: getattr(time.rating, name) for name in _COLUMNS[_COLUMNS.index("flops_per_s") :]}
    return {
        "model": inputs.model.name,
        "gpu": inputs.gpu,
        "precision": inputs.config.precision.value,
        "tp": time.key.tp,
        "mbs": time.key.mbs,
        "layer": time.layer,
        "part": time.kind.value,
        "phase": time.phase.value,
        "seconds": time.seconds,
        "flops": time.work.flops,
        "bytes": time.work.bytes,
        **rating,
    }


EXPORTER = Exporter(files=files, needs=gathered, reads_database=True)
