"""The measurements of the links of one GPU: the records that count, their fits, and the slowdowns of overlap."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sailor_exp.config.schema import GatherConfig
from sailor_exp.errors import TooFewSizesError
from sailor_exp.exporters.network.fits import LARGEST_MESSAGE_BYTES, fit_name
from sailor_exp.exporters.network.fitting import FittedLink, fit_link
from sailor_exp.profiles.identity import asked_identity
from sailor_exp.profiles.network.measurement import NetworkMeasurement, Series, bandwidths
from sailor_exp.profiles.network.operations import Operation
from sailor_exp.profiles.overlap.measurement import OverlapMeasurement, Slowdown, slowdown
from sailor_exp.records.files import read_all
from sailor_exp.records.record import Outcome, Record
from sailor_exp.records.selection import Selection, refuse_strangers, select
from sailor_exp.units import readable_bytes

_SCOPES = {Operation.ring: "intra", Operation.pairs: "inter"}

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class MeasuredLink:
    """One entry of the network file. `scope`: intra or inter; `count`: ranks in a machine, or pairs between two."""

    scope: str
    count: int
    kind: str
    series: Series
    fitted: FittedLink


@dataclass(frozen=True, kw_only=True)
class NetworkRecords:
    """All records of one GPU in a network directory. `slowdowns`: by ranks. `lacking`: the cells without a number."""

    links: tuple[MeasuredLink, ...]
    slowdowns: Mapping[int, Slowdown]
    lacking: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def has_numbers(self) -> bool:
        return bool(self.links or self.slowdowns)


def read(config: GatherConfig) -> NetworkRecords:
    """Read and fit the records of the configured GPU; skip those of other GPUs.

    Raises MixedRecordsError for a record with the GPU's name and another device or backend, RecordError for an
    unreadable one.
    """
    network = _selected(config, "network", NetworkMeasurement)
    overlap = _selected(config, "overlap", OverlapMeasurement)
    links: list[MeasuredLink] = []
    counting: list[Record[Any]] = [*network.counting, *overlap.counting]
    lacking = [_without_number(record) for record in counting if not _ok(record)]
    for record in filter(_ok, network.counting):
        try:
            links.append(_link(record, config.gpu.name))
        except TooFewSizesError as error:
            lacking.append(str(error))
    overlaps = {record.identity.ranks or 0: record.measured for record in filter(_ok, overlap.counting)}
    return NetworkRecords(
        links=tuple(sorted(links, key=lambda link: (link.scope, link.count))),
        slowdowns={ranks: slowdown(overlaps[ranks]) for ranks in sorted(overlaps)},
        lacking=tuple(lacking),
        warnings=(
            *network.warnings(asked_identity(config, "network").method),
            *overlap.warnings(asked_identity(config, "overlap").method),
            *_link_warnings(links),
            *_overlap_warnings(overlaps),
        ),
    )


def _selected(config: GatherConfig, profile: str, schema: type[M]) -> Selection[Record[M]]:
    stored = [
        (path, record)
        for path, record in read_all(Path(config.network_dir), profile, schema)
        if record.identity.gpu_name == config.gpu.name
    ]
    refuse_strangers([(path, record.identity) for path, record in stored], asked_identity(config, profile))
    return select(record for _, record in stored)


def _ok(record: Record[Any]) -> bool:
    return record.outcome is Outcome.ok


def _link(record: Record[NetworkMeasurement], gpu: str) -> MeasuredLink:
    series = next(series for series in record.measured.series if series.operation in _SCOPES)
    scope, count = _SCOPES[series.operation], record.identity.ranks or 0
    fitted = fit_link(fit_name(scope, gpu, count), bandwidths(series))
    return MeasuredLink(scope=scope, count=count, kind=record.measured.link.kind, series=series, fitted=fitted)


def _without_number(record: Record[Any]) -> str:
    why = f": {record.ending.message}" if record.ending else ""
    identity = record.identity
    return f"profile={identity.profile} {identity.cell_name} has no number, {record.outcome}{why}"


def _link_warnings(links: Sequence[MeasuredLink]) -> Iterator[str]:
    for link in links:
        fit = link.fitted.fit
        least, largest = (point.size_bytes for point in (link.fitted.points[0], link.fitted.points[-1]))
        if link.kind == "loopback":
            yield f"the {fit.name} is of a loopback: this machine's memory, and no network's"
        if fit.least_bytes > least:
            yield (
                f"by the {fit.name} a message of less than {readable_bytes(int(min(fit.least_bytes, largest)))} takes "
                f"longer than one of that size, down to {readable_bytes(least)}; our exporters count it as one of "
                f"{readable_bytes(int(fit.least_bytes))}"
            )
        if largest < LARGEST_MESSAGE_BYTES:
            yield (
                f"the {fit.name} was measured up to {readable_bytes(largest)}, and what it gives beyond is a guess: "
                f"Galvatron's profile takes messages of up to {readable_bytes(LARGEST_MESSAGE_BYTES)} "
                "(profile.most_bytes)"
            )
        unconverged = [point for point in link.fitted.points if not point.converged]
        if unconverged:
            yield f"the {fit.name}: {len(unconverged)} of {len(link.fitted.points)} sizes had not converged"


def _overlap_warnings(overlaps: Mapping[int, OverlapMeasurement]) -> Iterator[str]:
    for ranks, overlap in sorted(overlaps.items()):
        measured = slowdown(overlap).measured
        if measured < 1:
            yield f"the overlap coefficient for {ranks} ranks was measured as {measured:.3f}, and is written as 1"
        if overlap.method == "threads":
            yield f"the overlap coefficient for {ranks} ranks is of a CPU's threads, which share cores"
