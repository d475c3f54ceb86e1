"""The command `gather.py`: from records to the gathered database, and from that to the planners' files.

0: all files are written, and nothing that a reader needs is missing. 1: something that a reader needs is missing or
unusable; the command names it and does the rest. 2: the command was wrong, and nothing was started. 130: the command
was interrupted.
"""

import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Never

from omegaconf import DictConfig

from sailor_exp import command_line
from sailor_exp.command_line import BROKEN, WRONG
from sailor_exp.config.schema import ExporterConfig, GatherConfig, VmConfig, gather_from
from sailor_exp.errors import ConfigurationError, SailorExpError
from sailor_exp.exporters.exporter import Export, write
from sailor_exp.exporters.registry import ALL, exporter_named, planners
from sailor_exp.files.whole import write_whole
from sailor_exp.terminal import console

if TYPE_CHECKING:
    from rich.console import RenderableType


class Exports:
    """The methods that the launcher plugins call, with all configurations of a sweep at once."""

    def run(self, configs: Sequence[DictConfig]) -> list[str]:
        """Export what each configuration asks for; one that lacks something does not stop the others.

        Raises SystemExit, which Hydra passes on without a traceback, where something is lacking.
        """
        jobs = [gather_from(config) for config in configs]
        # Hydra's own options, --config-dir for one, skip the check of the command line.
        if messages := list(dict.fromkeys(fault for job in jobs for fault in command_line.gather_faults_of(job))):
            print(ConfigurationError(messages), file=sys.stderr)
            raise SystemExit(WRONG)
        lacking = [done.lacking for done in export_all([job for job in jobs if not job.ready])]
        ready = [_are_ready(asked) for asked in _questions([job for job in jobs if job.ready])]
        if any(lacking) or not all(ready):
            raise SystemExit(BROKEN)
        return ["ok"] * len(configs)

    def submit(self, configs: Sequence[DictConfig], launchers: Sequence[DictConfig]) -> Never:  # noqa: ARG002
        """Refuse to submit what takes seconds and no GPU. Raises SystemExit."""
        print("gathering runs where it is started: leave out hydra/launcher", file=sys.stderr)
        raise SystemExit(WRONG)


def _run_one(config: DictConfig) -> str:
    return Exports().run([config])[0]


_run_one.grid = Exports()  # type: ignore[attr-defined]  # the launcher plugins' contract


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    return command_line.run(
        command_line.GATHER, _run_one, arguments, interrupted="every file is as it was or as it should be"
    )


def _questions(jobs: Sequence[GatherConfig]) -> list[list[GatherConfig]]:
    """Return the jobs that differ in their planner alone, with one for each planner."""
    questions: dict[str, dict[str, GatherConfig]] = {}
    for job in jobs:
        names = planners() if job.exporter.name == ALL else [job.exporter.name]
        about = questions.setdefault(repr(replace(job, exporter=ExporterConfig(zone=job.exporter.zone))), {})
        for name in names:
            about[name] = command_line.with_exporter(job, name) if name != job.exporter.name else job
    return [list(about.values()) for about in questions.values()]


def _are_ready(jobs: Sequence[GatherConfig]) -> bool:
    """Print whether the planners of jobs find what they open, and return whether all do."""
    from sailor_exp.exporters.readers.ready import answer
    from sailor_exp.exporters.readers.show import shown

    try:
        answers = [answer(job) for job in jobs]
    except SailorExpError as error:
        print(f"ready=true: {error}", file=sys.stderr)
        return False
    _show(shown(jobs[0], answers))
    return all(answer.ready for answer in answers)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of an export. `lacking`: what a reader needs and does not find; empty where all is there."""

    job: GatherConfig
    files: tuple[Path, ...]
    lacking: tuple[str, ...]


def export_all(jobs: Sequence[GatherConfig]) -> list[Done]:
    """Export what each job asks for, equal ones once; one that lacks something does not stop the others."""
    run, distinct = _Run(), dict[str, GatherConfig]()
    for job in jobs:
        distinct.setdefault(key_of(job), job)
    done = [run.carry_out(job) for job in distinct.values()]
    for key, names in run.unread_by.items():
        if len(names) == len(done):
            print(f"warning: exporter={','.join(dict.fromkeys(names))} does not read exporter.{key}", file=sys.stderr)
    return done


def key_of(job: GatherConfig) -> str:
    """Return a key that jobs share if they are the same for their exporter."""
    about_vm = exporter_named(job.exporter.name).about_vm
    return repr(job if about_vm else replace(job, vm=VmConfig(gpus=0)))


def name_of(job: GatherConfig) -> str:
    """Return the name of a job that people see: `varuna of gpt-tiny on CPU vm=2`."""
    exporter = exporter_named(job.exporter.name)
    of = f" of {job.model.name}" if exporter.about_model else ""
    vm = f" vm={job.vm.gpus}" if exporter.about_vm else ""
    return f"{job.exporter.name}{of} on {job.gpu.name}{vm}"


@dataclass
class _Run:
    """The jobs of one command line, the job that wrote each file, and the exporters that did not read a key."""

    written: dict[Path, GatherConfig] = field(default_factory=dict)
    unread_by: dict[str, list[str]] = field(default_factory=dict)
    reported: set[Path] = field(default_factory=set)

    def carry_out(self, job: GatherConfig) -> Done:
        """Do a job, and print its warnings and what it lacks to standard error."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            export = self._export(job)
            lacking = tuple(dict.fromkeys([*export.lacking, *self._report(job)]))
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            print(f"warning: {text}", file=sys.stderr)
        for text in lacking:
            print(f"{name_of(job)}: {text}", file=sys.stderr)
        return Done(job=job, files=tuple(export.files), lacking=lacking)

    def _export(self, job: GatherConfig) -> Export:
        """Export, and return what was written; an error is what is lacking."""
        from sailor_exp.exporters.inputs import Inputs

        try:
            with Inputs(job) as inputs:
                export = exporter_named(job.exporter.name).files(inputs)
                for key in inputs.unread():
                    self.unread_by.setdefault(key, []).append(job.exporter.name)
                for path, content in export.files.items():
                    self._warn_of_overwriting(path, content, job)
                _show(export.shown)
                write(export.files)
        except SailorExpError as error:
            return Export(files={}, lacking=(str(error),))
        self.written |= dict.fromkeys(export.files, job)
        _name_files(job, export)
        return export

    def _report(self, job: GatherConfig) -> list[str]:
        """Write the page about the records, once for all exporters of a command line, and return what is lacking."""
        path = Path(job.export_root) / "reports" / job.model.name / f"{job.gpu.name}.html"
        if not job.report or path in self.reported:
            return []
        try:
            _write_report(job, path)
        except SailorExpError as error:
            return [str(error)]
        self.reported.add(path)
        return []

    def _warn_of_overwriting(self, path: Path, content: bytes, job: GatherConfig) -> None:
        former = self.written.get(path)
        if former is not None and former.vm != job.vm and path.read_bytes() != content:
            warnings.warn(
                f"{path} has one place for every VM: it now holds vm={job.vm.gpus}, no longer vm={former.vm.gpus}. "
                "Give each its own export_root to keep both.",
                stacklevel=2,
            )


def _show(texts: "Iterable[RenderableType]") -> None:
    for shown in texts:
        if isinstance(shown, str):
            print(shown, flush=True)
        else:
            console().print(shown)


def _name_files(job: GatherConfig, export: Export) -> None:
    if export.summary is not None:
        print(f"{name_of(job)}: {export.summary}")
        return
    for path in export.files:
        print(f"wrote {path}")


def _write_report(job: GatherConfig, path: Path) -> None:
    """Write the page about the records. Its own warnings are on the page."""
    from sailor_exp.exporters.inputs import Inputs
    from sailor_exp.report.content import content_of
    from sailor_exp.report.page import page

    with Inputs(job) as inputs:
        content = content_of(inputs)
    write_whole(path, page(content, error_limit=job.check_limit if content.checked else None))
    print(f"report: {path}")
