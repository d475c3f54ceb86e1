"""Turns a sweep with `exporter=` into the cells that its exporters need, each once, and the exports that follow."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from omegaconf import DictConfig

from sailor_exp.config.schema import PROFILE_KEYS, Cell, GatherConfig, ProfileConfig, VmConfig, cell_from
from sailor_exp.config.stages import beyond_one_machine
from sailor_exp.errors import ConfigurationError
from sailor_exp.exporters.needs import LAYERS, Asked, Need
from sailor_exp.exporters.registry import exporter_named, name_faults
from sailor_exp.profiles.faults import gather_faults
from sailor_exp.profiles.grids import Grid
from sailor_exp.profiles.registry import profile_named

Compose = Callable[[Sequence[str]], DictConfig]
"""Returns the application's configuration for the overrides of one job."""

_DATABASE, _BANDWIDTHS = "sailor", "network"
"""Exporters whose files other exporters and planners read."""

_SEVERAL = re.compile(r"exporter=[\w'\s]+(,[\w'\s]+)+")

_GPUS = ("pp", "tp", "ranks")
"""Keys that say over how many GPUs of one machine a cell goes."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export that follows a launch. `jobs`: the places of the cells that it needs."""

    gather: GatherConfig
    jobs: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The overrides of every cell to measure, and the exports after them."""

    jobs: tuple[tuple[str, ...], ...]
    exports: tuple[Export, ...]


def asked_cell(cell: Cell) -> Cell:
    """Return the cell of layers that a command with an exporter asks for; any other cell as it is."""
    if cell.exporter is None:
        return cell
    profile = ProfileConfig(name=cell.profile.name, subject=cell.profile.subject, ranks=cell.profile.ranks)
    return replace(cell, exporter=None, profile=profile)


def exporter_faults(cell: Cell) -> list[str]:
    """Return the faults of the exporter that a cell is measured for, one sentence each."""
    if cell.exporter is None:
        return []
    if wrong_name := name_faults(cell.exporter.name):
        return wrong_name
    name, vm = cell.exporter.name, cell.vm.gpus
    grids = [need.grid for need in _needs(cell)]
    gpus = {key: max(grid[key]) for grid in grids for key in _GPUS if key in grid}
    key, most = max(gpus.items(), key=lambda item: item[1], default=("tp", 1))
    too_many = f"exporter={name} needs {key}={most}, {most} GPUs in one machine; vm={vm} has {vm}. Choose a larger vm."
    return [*gather_faults(_gather(cell)), *([too_many] if most > vm else [])]


def with_one_exporter(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the exporters of a command line, and the arguments with the first of them alone.

    The cells of a sweep do not differ in exporters, and Hydra takes a tenth of a second to compose a job.
    """
    choices = [argument for argument in arguments if _SEVERAL.fullmatch(argument)]
    names = tuple(name.strip() for choice in choices for name in _value(choice).replace("'", "").split(","))
    return names, [f"exporter={names[0]}" if argument in choices else argument for argument in arguments]


def plan(job_overrides: Sequence[Sequence[str]], compose: Compose, exporters: Sequence[str] = ()) -> Plan | None:
    """Return the plan of a sweep; None where it has no exporter. Raises ConfigurationError.

    exporters: those of the command line, where the jobs name the first of them alone.
    """
    groups = [group for group in _groups(job_overrides) if group.exporters]
    if not groups:
        return None
    for group in groups:
        group.exporters += [name for name in exporters if name not in group.exporters]
        group.compose(compose)
    _complete(groups)
    planned = [one for group in groups for one in _planned(group)]
    jobs = list(dict.fromkeys(cell for one in planned for cell in one.cells))
    profiles = list(dict.fromkeys(cell.profile for cell in jobs))
    jobs.sort(key=lambda cell: (not profile_named(cell.profile).about_model, profiles.index(cell.profile)))
    places = {cell: place for place, cell in enumerate(jobs)}
    return Plan(
        jobs=tuple(cell.overrides for cell in jobs),
        exports=tuple(Export(gather=one.gather, jobs=frozenset(places[cell] for cell in one.cells)) for one in planned),
    )


class _Job(NamedTuple):
    profile: str
    overrides: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Planned:
    gather: GatherConfig
    cells: tuple[_Job, ...]


@dataclass(kw_only=True)
class _Group:
    """The jobs of a sweep that differ in exporter, tp and mbs alone. `settings`: the keys below `exporter`.

    `composed`: by name, the exporters that were asked for, after those whose files they read.
    """

    shared: tuple[str, ...]
    settings: tuple[str, ...]
    exporters: list[str] = field(default_factory=list)
    tps: list[int] = field(default_factory=list)
    microbatches: list[int] = field(default_factory=list)
    composed: dict[str, Cell] = field(default_factory=dict)

    @property
    def vm(self) -> int:
        return self._first.vm.gpus

    @property
    def but_vm(self) -> str:
        """The key of the groups that measure into the same grid."""
        return repr((replace(self._first, vm=VmConfig(), exporter=None, tp=0, mbs=0), self.settings))

    @property
    def asked(self) -> list[Cell]:
        """The cells of the exporters that were asked for."""
        return [self.composed[name] for name in self.exporters]

    @property
    def _first(self) -> Cell:
        return next(iter(self.composed.values()))

    def compose(self, compose: Compose) -> None:
        """Compose the exporters, and take the tp and mbs of the configuration where the command line has none."""
        asked = {name: _composed(self, compose, name) for name in self.exporters}
        exporters = [exporter_named(cell.exporter.name) for cell in asked.values() if cell.exporter]
        implied = [_DATABASE] if any(exporter.reads_database for exporter in exporters) else []
        implied += [_BANDWIDTHS] if any(exporter.reader for exporter in exporters) else []
        self.composed = {**{name: asked.get(name) or _composed(self, compose, name) for name in implied}, **asked}
        self.tps = self.tps or [self._first.tp]
        self.microbatches = self.microbatches or [self._first.mbs]


def _groups(job_overrides: Iterable[Sequence[str]]) -> list[_Group]:
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], _Group] = {}
    for overrides in job_overrides:
        own = {_key(override): override for override in overrides if _key(override) in {"exporter", "tp", "mbs"}}
        settings = tuple(override for override in overrides if _key(override).startswith("exporter."))
        shared = tuple(override for override in overrides if override not in {*own.values(), *settings})
        group = groups.setdefault((shared, settings), _Group(shared=shared, settings=settings))
        for key, values in (("tp", group.tps), ("mbs", group.microbatches)):
            if key in own and (value := int(_value(own[key]))) not in values:
                values.append(value)
        if "exporter" in own and _value(own["exporter"]) not in group.exporters:
            group.exporters.append(_value(own["exporter"]))
    return list(groups.values())


def _complete(groups: Sequence[_Group]) -> None:
    """Add to each grid of layers what its exporters need of it, until nothing is added.

    Every degree has every microbatch, whichever VM it is measured on: readers count a cell that is not there as 0 s. A
    larger grid can need more, such as Varuna's halves of its largest microbatch.
    """
    former = None
    while (grids_now := [(group.tps, group.microbatches) for group in groups]) != former:
        former = grids_now
        for group in groups:
            grids = [need.grid for cell in group.asked for need in _needs(cell, group) if need.profile == LAYERS]
            group.tps = sorted({*group.tps, *(tp for grid in grids for tp in grid["tp"])})
            group.microbatches = sorted({*group.microbatches, *(mbs for grid in grids for mbs in grid["mbs"])})
        for group in groups:
            alike = [other for other in groups if other.but_vm == group.but_vm]
            tps = {tp for other in alike for tp in other.tps}
            group.tps = sorted({*group.tps, *(tp for tp in tps if group.vm % tp == 0)})
            group.microbatches = sorted({mbs for other in alike for mbs in other.microbatches})


def _planned(group: _Group) -> Iterator[_Planned]:
    """Yield the exports of a group in the order in which they read each other's files."""
    whole: Grid = {"tp": group.tps, "mbs": group.microbatches}
    for name, cell in group.composed.items():
        needs = _needs(cell, group) if name in group.exporters else []
        others = [need for need in needs if need.profile != LAYERS]
        wanted = [Need(LAYERS, whole), *others] if len(others) < len(needs) else others
        cells = [_job(group, cell, need.profile, keys) for need in wanted for keys in _cells(need.grid, group.vm)]
        yield _Planned(gather=_gather(cell), cells=tuple(dict.fromkeys(cells)))


def _composed(group: _Group, compose: Compose, exporter: str) -> Cell:
    cell = cell_from(compose([*group.shared, *group.settings, f"exporter={exporter}"]))
    if faults := exporter_faults(cell):
        raise ConfigurationError(faults)
    return cell


def _needs(cell: Cell, group: _Group | None = None) -> list[Need]:
    """Return what a cell's exporter needs for the grid of a group; for the smallest one where there is no group."""
    if cell.exporter is None:
        return []
    tps, microbatches = (group.tps, group.microbatches) if group else ([1], [1])
    asked = Asked(model=cell.model, vm=cell.vm.gpus, tps=tps, microbatches=microbatches)
    return list(exporter_named(cell.exporter.name).needs(asked))


def _cells(grid: Grid, vm: int) -> Iterator[Mapping[str, int]]:
    """Yield the keys of the cells of a grid, but for pipelines that a machine has too few GPUs for."""
    for values in itertools.product(*grid.values()):
        keys = dict(zip(grid, values, strict=True))
        if beyond_one_machine(keys.get("pp", 1), keys.get("tp", 1), vm) is None:
            yield keys


def _job(group: _Group, cell: Cell, profile: str, keys: Mapping[str, int]) -> _Job:
    """Return a cell of a profile; keys that concern other profiles are left out of its overrides."""
    about_model, options = profile_named(profile).about_model, profile_named(profile).options(cell) or {}
    left_out = {f"profile.{key}" for key in PROFILE_KEYS if key not in options}
    left_out |= set() if about_model else {"profile_dir"}
    shared = [override for override in group.shared if _key(override) not in left_out]
    where = [] if about_model else ["profile_dir=${network_dir}"]
    return _Job(profile, (*shared, *where, f"profile={profile}", *(f"{key}={value}" for key, value in keys.items())))


def _gather(cell: Cell) -> GatherConfig:
    """Return the configuration of gathering or exporting what a launch measured."""
    assert cell.exporter is not None  # noqa: S101
    return GatherConfig(
        precision=cell.precision,
        optimizer=cell.optimizer,
        attention=cell.attention,
        profile_dir=cell.profile_dir,
        network_dir=cell.network_dir,
        export_root=cell.export_root,
        report=cell.report,
        model=cell.model,
        gpu=cell.gpu,
        vm=cell.vm,
        exporter=cell.exporter,
    )


def _key(override: str) -> str:
    return override.partition("=")[0]


def _value(override: str) -> str:
    return override.partition("=")[2].strip("'\"")
