"""Records of cells, built in sight: what a test does not say is the same for all.

Legend: T ranks, N steps.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sailor_exp.config.architecture import Kind, kinds_by_layer_id, parameters_of_part
from sailor_exp.config.schema import Cell
from sailor_exp.profiles.identity import identity_of
from sailor_exp.profiles.layers.measurement import (
    KindStatistics,
    LayersMeasurement,
    Memory,
    PartMemory,
    PartSamples,
    Samples,
    Statistics,
    Timing,
)
from sailor_exp.profiles.registry import profile_of
from sailor_exp.records.files import write
from sailor_exp.records.identity import Identity
from sailor_exp.records.provenance import Provenance
from sailor_exp.records.record import Ending, Outcome, Record
from tests.build import cells

FORWARD_S = {"embedding": 0.001, "layer": 0.004, "layer_window": 0.003, "final_norm": 0.0005, "head": 0.002}
"""Of one sample at tp 1; backward takes twice as long, an update half as long, the overhead a tenth."""

OUTPUTS = {"embedding": 16_384, "layer": 16_384, "layer_window": 16_384, "final_norm": 16_384, "head": 524_289}
KEPT = {"embedding": 16_384, "layer": 700_000, "layer_window": 700_000, "final_norm": 32_768, "head": 1_100_000}
"""Elements of one sample at tp 1."""

_PHASES = {"forward": 1.0, "backward": 2.0, "update": 0.5, "overhead": 0.1}
_BYTES = 4


def cell(*overrides: str, tp: int = 1, mbs: int = 1) -> Cell:
    """A cell of conf/launch.yaml: `cell("model=opt-350", tp=2)`."""
    return cells.cell(*overrides, f"tp={tp}", f"mbs={mbs}")


def measured(
    of: Cell,
    *,
    forward_s: Mapping[str, float] = FORWARD_S,
    layers: Mapping[str, str] | None = None,
    finished_at: str = "2026-01-01T00:00:00+00:00",
    commit: str = "c0ffee",
    torch: str = "2.9.0",
    steps: int = 4,
) -> Record:
    """An ok record of a cell; each step takes as long as the one before."""
    layers = dict(layers or kinds_by_layer_id(of.model))
    kinds = list(dict.fromkeys(layers.values()))
    measurement = LayersMeasurement(
        layers=layers,
        statistics=Statistics(
            steps=steps,
            converged=True,
            target=0.03,
            relative_half_width=0.01,
            step=_timing(sum(_kind_s(of, forward_s[kind], 1.0) for kind in kinds)),
            kinds={kind: _statistics(of, forward_s[kind]) for kind in kinds},
        ),
        memory=Memory(
            kinds={kind: _memory(of, kind) for kind in kinds},
            peak_bytes=1_000_000,
            reserved_bytes=None,
            device_used_bytes=None,
        ),
        samples=_samples(of, forward_s, kinds, steps),
    )
    return ok(of, measurement, provenance(finished_at=finished_at, commit=commit, torch=torch))


def ok(of: Cell, measurement: Any, made: Provenance) -> Record:
    """An ok record of a cell, whatever its profile."""
    return Record[type(measurement)](
        outcome=Outcome.ok, identity=identity_of(of), measurement=measurement, provenance=made
    )


def unmeasured(of: Cell, outcome: Outcome, *, finished_at: str = "2026-01-01T00:00:00+00:00") -> Record:
    """A record of a cell without numbers."""
    return Record[profile_of(of).schema](
        outcome=outcome,
        identity=identity_of(of),
        ending=Ending(message=f"ended as {outcome}"),
        provenance=provenance(finished_at=finished_at),
    )


def changed(record: Record, **changes: Any) -> Record:
    """A record with some keys of its identity or measurement changed: `changed(record, mbs=2)`."""
    identity = {key: value for key, value in changes.items() if key in Identity.model_fields}
    measurement = {key: value for key, value in changes.items() if key not in Identity.model_fields}
    return record.model_copy(
        update={
            "identity": record.identity.model_copy(update=identity),
            "measurement": record.measurement and record.measurement.model_copy(update=measurement),
        }
    )


def provenance(*, finished_at: str, commit: str = "c0ffee", torch: str = "2.9.0") -> Provenance:
    return Provenance(
        commit=commit,
        dirty=False,
        host="host",
        devices=[],
        cpu="cpu",
        cpu_cores=1,
        threads_per_rank=1,
        versions={"python": "3.11.0", "torch": torch},
        started_at=finished_at,
        finished_at=finished_at,
        slurm={},
        sampling={},
    )


def write_grid(profile_dir: Path, *overrides: str, tps: tuple[int, ...], microbatches: tuple[int, ...]) -> None:
    """Ok records of every cell of a grid."""
    for tp, mbs in itertools.product(tps, microbatches):
        write(measured(cell(*overrides, tp=tp, mbs=mbs)), profile_dir)


def _statistics(of: Cell, forward_s: float) -> KindStatistics:
    return KindStatistics(**{phase: _timing(_kind_s(of, forward_s, share)) for phase, share in _PHASES.items()})


def _kind_s(of: Cell, forward_s: float, share: float) -> float:
    return forward_s * share * of.mbs / of.tp


def _timing(seconds: float) -> Timing:
    return Timing(value_s=seconds, median_s=seconds * 0.99, relative_half_width=0.01, skew_s=0.0)


def _memory(of: Cell, kind: str) -> PartMemory:
    parameters = parameters_of_part(of.model, Kind(kind), of.tp)
    outputs, kept = OUTPUTS[kind] * of.mbs, KEPT[kind] * of.mbs // of.tp
    return PartMemory(
        params_floats=parameters,
        act_output_floats=outputs,
        act_input_floats=outputs,
        act_mem_floats=kept,
        params_bytes=parameters * _BYTES,
        act_output_bytes=outputs * _BYTES,
        act_input_bytes=outputs * _BYTES,
        act_mem_bytes=kept * _BYTES,
        peak_forward_bytes=1,
        peak_backward_bytes=2,
        peak_update_bytes=3,
    )


def _samples(of: Cell, forward_s: Mapping[str, float], kinds: list[str], steps: int) -> Samples:
    count = 2 + steps
    parts = [
        PartSamples(
            part=kind,
            kind=kind,
            **{
                f"{phase}_s": [[_kind_s(of, forward_s[kind], share)] * count] * of.tp
                for phase, share in _PHASES.items()
            },
        )
        for kind in kinds
    ]
    return Samples(warmup=2, parts=parts, calibration_s=[[0.001] * count] * of.tp)
