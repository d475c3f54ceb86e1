"""The command `gather.py`: from records to the gathered database, and from that to the planners' files.

0: done, and nothing that a reader needs is missing. 1: something needed is missing or cannot be used; it is named,
and the rest was done. 2: the command was wrong, and nothing was started. 130: interrupted.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Never

import hydra
from omegaconf import DictConfig

from sailor_exp import command_line
from sailor_exp.config.schema import GatherConfig, VmConfig, gather_from, register
from sailor_exp.errors import (
    ConfigurationError,
    MissingPackageError,
    NoLinkMeasuredError,
    NothingMeasuredError,
    SailorExpError,
    UnknownExporterError,
)
from sailor_exp.files import whole
from sailor_exp.profiles.advice import advice_of

LACKING, WRONG, INTERRUPTED = 1, 2, 130

_SAILOR = "sailor"
_TABLES = ("csv", "parquet")
_NETWORK = "network"


class Grid:
    """What the launcher plugins ask of this application: all configurations of a sweep at once."""

    def run(self, configs: Sequence[DictConfig]) -> list[str]:
        """Gather or export what each configuration asks for; what one lacks does not stop the others.

        Raises SystemExit, which Hydra lets through without a traceback, where something is lacking.
        """
        run = _Run()
        complete = [run.told(job) for job in _distinct([gather_from(config) for config in configs])]
        if not all(complete):
            raise SystemExit(LACKING)
        return ["ok"] * len(configs)

    def submit(self, configs: Sequence[DictConfig], launchers: Sequence[DictConfig]) -> Never:  # noqa: ARG002
        """Refuse to submit what takes seconds and no GPU. Raises SystemExit."""
        print("gathering runs where it is started: leave out hydra/launcher", file=sys.stderr)
        raise SystemExit(WRONG)


def _run_one(config: DictConfig) -> str:
    return Grid().run([config])[0]


_run_one.grid = Grid()  # type: ignore[attr-defined]  # the launcher plugins' contract


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    register()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.argv[1:] = command_line.checked(given, command_line.GATHER)
        hydra.main(version_base="1.3", config_path=str(command_line.CONF), config_name="gather")(_run_one)()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted; every file is as it was or as it should be", file=sys.stderr)
        return INTERRUPTED
    return 0


def _distinct(jobs: Sequence[GatherConfig]) -> list[GatherConfig]:
    """One job of those that differ in nothing that matters to them: records know no VM."""
    distinct: dict[str, GatherConfig] = {}
    for job in jobs:
        matters = job if _plans_with_vm(job) else replace(job, vm=VmConfig(gpus=0))
        distinct.setdefault(repr(matters), job)
    return list(distinct.values())


def _plans_with_vm(job: GatherConfig) -> bool:
    return job.exporter.name not in {_SAILOR, _NETWORK, *_TABLES}


def _name(job: GatherConfig) -> str:
    if job.exporter.name == _NETWORK:
        return f"network on {job.gpu.name}"
    vm = f" vm={job.vm.gpus}" if _plans_with_vm(job) else ""
    return f"{job.exporter.name} of {job.model.name} on {job.gpu.name}{vm}"


@dataclass
class _Run:
    """The jobs of one command line, and which of them wrote each file."""

    written: dict[Path, GatherConfig] = field(default_factory=dict)
    reported: set[Path] = field(default_factory=set)

    def told(self, job: GatherConfig) -> bool:
        """Do a job; tell what it lacks and warn on standard error. Returns whether it lacks nothing."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            lacking = [*_lacking(self._do, job), *_lacking(self._report, job)]
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            print(f"warning: {text}", file=sys.stderr)
        for text in dict.fromkeys(lacking):
            print(f"{_name(job)}: {text}", file=sys.stderr)
        return not lacking

    def _do(self, job: GatherConfig) -> list[str]:
        if job.exporter.name == _SAILOR:
            return [*_gather(job), *(_check(job) if job.check else [])]
        if job.exporter.name == _NETWORK:
            return _gather_network(job)
        if job.exporter.name in _TABLES:
            _write_table(job)
        else:
            self._export(job)
        return []

    def _report(self, job: GatherConfig) -> list[str]:
        """Write the page about the records, once for all exporters of a command line."""
        path = _report_path(job)
        if job.report and path not in self.reported:
            _write_report(job, path)
            self.reported.add(path)
        return []

    def _export(self, job: GatherConfig) -> None:
        """Write a planner's files from the gathered database."""
        from sailor_exp.exporters.inputs import place_of, source_of, unread_files
        from sailor_exp.exporters.registry import EXPORTERS

        if job.exporter.name not in EXPORTERS:
            raise UnknownExporterError(job.exporter.name, [_SAILOR, _NETWORK, *_TABLES, *EXPORTERS])
        exporter = EXPORTERS[job.exporter.name]
        for key in unread_files(job.exporter, exporter):
            warnings.warn(f"exporter={job.exporter.name} does not read exporter.{key}", stacklevel=2)
        files = exporter.files(source_of(job, exporter))
        directory = place_of(job).baseline(exporter.planner)
        for name, content in files.items():
            self._warn_of_overwriting(directory / name, content, job)
            whole.write_whole(directory / name, content)
        print(f"{_name(job)}: {_counted(len(files), 'file')} in {directory}/: {', '.join(files)}")

    def _warn_of_overwriting(self, path: Path, content: bytes, job: GatherConfig) -> None:
        former = self.written.get(path)
        if former is not None and path.read_bytes() != content:
            warnings.warn(
                f"{path} has one place for every VM: it now holds vm={job.vm.gpus}, no longer vm={former.vm.gpus}. "
                "Give each its own export_root to keep both.",
                stacklevel=2,
            )
        self.written[path] = job


def _lacking(do: Callable[[GatherConfig], list[str]], job: GatherConfig) -> list[str]:
    try:
        return do(job)
    except SailorExpError as error:
        return [str(error)]


def _gather(job: GatherConfig) -> list[str]:
    """Merge the records into Sailor's three files, and print the coverage; returns what a reader lacks."""
    from sailor_exp.exporters.inputs import place_of
    from sailor_exp.exporters.sailor import coverage
    from sailor_exp.exporters.sailor.grid import table_of
    from sailor_exp.exporters.sailor.merge import merge
    from sailor_exp.profiles.layers import profile_file
    from sailor_exp.records import files as record_files

    profile_dir = Path(job.profile_dir)
    found = table_of(
        job, record_files.read_all(profile_dir), profile_file.read_all(profile_dir, job.model, job.gpu.name)
    )
    if not found.states:
        raise _nothing_measured(job)
    for warning in found.warnings:
        warnings.warn(warning, stacklevel=2)
    print(f"{job.model.name} on {job.gpu.name}, from {profile_dir}/")
    print(coverage.grid(found))
    if found.foreign:
        print("* from a profile file of another tool")
    if not found.cells:
        return ["no cell has numbers: nothing was written"]
    merged = merge(place_of(job), job.model, found.cells, found.without_numbers())
    for difference in merged.differences:
        print(f"llm_info.json changed: {difference}")
    if merged.stayed:
        print(f"stayed as they were in the database: {', '.join(str(key) for key in merged.stayed)}")
    for path in merged.paths:
        print(f"wrote {path}")
    return coverage.lacking(found, merged, job)


def _gather_network(job: GatherConfig) -> list[str]:
    """Fit and merge what was measured of a GPU's links, and show it; returns what has no number."""
    from sailor_exp.exporters.inputs import place_of
    from sailor_exp.exporters.network import merge, plot, show
    from sailor_exp.exporters.network import records as network_records
    from sailor_exp.terminal import console

    found = network_records.read(Path(job.network_dir), job.gpu.name)
    if not found.links and not found.slowdowns and found.lacking:
        return [*found.lacking, "nothing was written"]
    if not found.links and not found.slowdowns:
        commands = advice_of(job).links()
        raise NoLinkMeasuredError(Path(job.network_dir), gpu=job.gpu.name, command="`, `".join(commands))
    for warning in found.warnings:
        warnings.warn(warning, stacklevel=2)
    show.show(found, console())
    written = merge.merge(
        lock=place_of(job).lock,
        network_file=merge.file_of(job.exporter.network_file, "exporter.network_file"),
        overlap_file=merge.file_of(job.exporter.overlap_file, "exporter.overlap_file"),
        gpu=job.gpu.name,
        found=found,
    )
    if found.links:
        picture = Path(job.export_root) / "plots" / f"network_{job.gpu.name}.png"
        try:
            whole.write_whole(picture, plot.as_png(job.gpu.name, found.links))
            written.append(picture)
        except MissingPackageError as error:
            warnings.warn(str(error), stacklevel=2)
    for path in written:
        print(f"wrote {path}")
    return list(found.lacking)


def _check(job: GatherConfig) -> list[str]:
    """Hold the records against training steps, print and write the table; returns what is too far off."""
    from sailor_exp.exporters.sailor import accuracy

    cells = list(accuracy.checked_cells(job))
    if not cells:
        command = advice_of(job).profile("check")
        return [f"check=true: no training steps were measured in {job.profile_dir}/. Measure with `{command}`"]
    print(accuracy.as_text(cells, job.check_limit))
    path = Path(job.export_root) / "checks" / job.model.name / f"{job.gpu.name}.csv"
    whole.write_whole(path, accuracy.as_csv(cells, job.check_limit))
    print(f"wrote {path}")
    return accuracy.complaints(cells, job.check_limit)


def _write_table(job: GatherConfig) -> None:
    """Write all records as one tidy table."""
    from sailor_exp.exporters import tables
    from sailor_exp.records import files as record_files

    render = tables.as_csv if job.exporter.name == "csv" else tables.as_parquet
    records = list(record_files.read_all(Path(job.profile_dir)))
    if not records:
        raise _nothing_measured(job)
    path = Path(job.export_root) / "tables" / job.model.name / f"{job.gpu.name}.{job.exporter.name}"
    whole.write_whole(path, render(records))
    print(f"{_counted(len(records), 'record')} in {path}")


def _report_path(job: GatherConfig) -> Path:
    return Path(job.export_root) / "reports" / job.model.name / f"{job.gpu.name}.html"


def _write_report(job: GatherConfig, path: Path) -> None:
    """Write what the records say as a page to look at. Its own warnings stand in it."""
    from sailor_exp.exporters.sailor import accuracy
    from sailor_exp.exporters.sailor.grid import table_of
    from sailor_exp.profiles.layers import profile_file
    from sailor_exp.records import files as record_files
    from sailor_exp.report.content import content_of
    from sailor_exp.report.page import page

    profile_dir = Path(job.profile_dir)
    records = list(record_files.read_all(profile_dir))
    table = table_of(job, records, profile_file.read_all(profile_dir, job.model, job.gpu.name))
    if not table.states:
        raise _nothing_measured(job)
    predictions = accuracy.prediction_rows(accuracy.checked_cells(job))
    content = content_of(job, table, records, predictions)
    whole.write_whole(path, page(content, error_limit=job.check_limit if predictions else None))
    print(f"report: {path}")


def _nothing_measured(job: GatherConfig) -> NothingMeasuredError:
    command = advice_of(job).measure([(tp, mbs) for tp in (1, 2, 4) for mbs in (1, 2, 4, 8)])
    return NothingMeasuredError(Path(job.profile_dir), model=job.model.name, gpu=job.gpu.name, command=command)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
