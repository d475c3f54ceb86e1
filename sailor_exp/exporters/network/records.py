"""What was measured of the links of one GPU: the records that count, fitted, and the slowdowns of overlap."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sailor_exp.errors import TooFewSizesError
from sailor_exp.exporters.network.fitting import ASKED_BYTES, FittedLink, fit_link
from sailor_exp.profiles.network.measurement import NetworkMeasurement, Series
from sailor_exp.profiles.network.measurement import bandwidths as bandwidths_of
from sailor_exp.profiles.network.operations import Operation
from sailor_exp.profiles.overlap.measurement import OverlapMeasurement, Slowdown, slowdown
from sailor_exp.records import files as record_files
from sailor_exp.records.record import Outcome, Record
from sailor_exp.units import readable_bytes

_SCOPES = {Operation.ring: "intra", Operation.pairs: "inter"}


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
    """Everything of one GPU below a network directory. `slowdowns`: by ranks. `lacking`: cells without a number."""

    links: tuple[MeasuredLink, ...]
    slowdowns: dict[int, Slowdown]
    methods: frozenset[str]
    lacking: tuple[str, ...]
    warnings: tuple[str, ...]


def read(network_dir: Path, gpu: str) -> NetworkRecords:
    """Read and fit the records of a GPU; of several of one cell the newest with numbers counts.

    Raises RecordError for one that cannot be read.
    """
    found = {name: _newest(network_dir, name, gpu) for name in ("network", "overlap")}
    links: list[MeasuredLink] = []
    lacking = [_without_number(made) for cells in found.values() for made in cells if made.outcome is not Outcome.ok]
    overlaps: dict[int, OverlapMeasurement] = {}
    for made in [made for cells in found.values() for made in cells if made.outcome is Outcome.ok]:
        if isinstance(made.measurement, NetworkMeasurement):
            try:
                links.append(_link(made, made.measurement, gpu))
            except TooFewSizesError as error:
                lacking.append(str(error))
        elif isinstance(made.measurement, OverlapMeasurement):
            overlaps[made.identity.ranks or 0] = made.measurement
    return NetworkRecords(
        links=tuple(sorted(links, key=lambda link: (link.scope, link.count))),
        slowdowns={ranks: slowdown(overlaps[ranks]) for ranks in sorted(overlaps)},
        methods=frozenset(overlap.method for overlap in overlaps.values()),
        lacking=tuple(lacking),
        warnings=(*_link_warnings(links), *_overlap_warnings(overlaps)),
    )


def _newest(network_dir: Path, profile: str, gpu: str) -> list[Record]:
    """Of each cell the newest record with numbers, else the newest."""
    newest: dict[tuple[tuple[str, int], ...], Record] = {}
    for _, made in record_files.read_all(network_dir, profile):
        if made.identity.gpu["name"] == gpu:
            cell = tuple(made.identity.cell_keys.items())
            newest[cell] = max([newest[cell], made] if cell in newest else [made], key=_preference)
    return [newest[cell] for cell in sorted(newest)]


def _preference(made: Record) -> tuple[bool, str]:
    return made.outcome is Outcome.ok, made.provenance.finished_at


def _link(made: Record, measured: NetworkMeasurement, gpu: str) -> MeasuredLink:
    series = next(series for series in measured.series if series.operation in _SCOPES)
    scope, count = _SCOPES[series.operation], made.identity.ranks or 0
    unit = "ranks" if scope == "intra" else "concurrent pairs"
    fitted = fit_link(f"{scope} fit of {gpu} for {count} {unit}", bandwidths_of(series))
    return MeasuredLink(scope=scope, count=count, kind=measured.link.kind, series=series, fitted=fitted)


def _without_number(made: Record) -> str:
    cell = " ".join(f"{key}={value}" for key, value in made.identity.cell_keys.items())
    why = f": {made.ending.message}" if made.ending else ""
    return f"profile={made.identity.profile} {cell} has no number, {made.outcome}{why}"


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
        if largest < ASKED_BYTES:
            yield (
                f"the {fit.name} was measured up to {readable_bytes(largest)}, and what it gives beyond is a guess: "
                f"Galvatron's profile takes messages of up to {readable_bytes(ASKED_BYTES)} (profile.most_bytes)"
            )
        unsure = [point for point in link.fitted.points if not point.converged]
        if unsure:
            yield f"the {fit.name}: {len(unsure)} of {len(link.fitted.points)} sizes had not converged"


def _overlap_warnings(overlaps: dict[int, OverlapMeasurement]) -> Iterator[str]:
    for ranks, overlap in sorted(overlaps.items()):
        found = slowdown(overlap)
        if found.measured < 1:
            yield f"the overlap coefficient for {ranks} ranks was measured as {found.measured:.3f}, and is written as 1"
        if overlap.method == "threads":
            yield f"the overlap coefficient for {ranks} ranks is of a CPU's threads, which share cores"
