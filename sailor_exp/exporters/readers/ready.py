"""Whether planners find what they ask for, in the files on disk and in files that an export is about to write."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sailor_exp.config.schema import GatherConfig
from sailor_exp.errors import MissingCellError, MissingInputError, SailorExpError
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.readers import bandwidths, simulator
from sailor_exp.exporters.readers.reader import NODES, Case, File, Finding, Reader, findings
from sailor_exp.exporters.registry import exporter_named


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found for one planner: of the files of all planners, and of its own."""

    planner: str
    shared: tuple[Finding, ...]
    own: tuple[Finding, ...]

    @property
    def ready(self) -> bool:
        return all(finding.fine for finding in (*self.shared, *self.own))


def answer(config: GatherConfig) -> Answer:
    """Return the answer for the exporter's planner. Writes nothing. Raises NotACheckoutError."""
    name = config.exporter.name
    reader = exporter_named(name).reader
    assert reader is not None  # noqa: S101
    with Inputs(config) as inputs:
        case = Case(inputs=inputs)
        shared = [*findings(case, _shared(case, reader)), *simulator.shipped(case)]
        own = list(findings(case, reader.files(case, case.commands.export(name))))
        if not all(finding.fine for finding in own):
            own = [_made_by(finding, case.commands.export(name), _making(case)) for finding in own]
    return Answer(planner=reader.planner, shared=tuple(shared), own=(*own, *reader.code(case)))


def unready_in(inputs: Inputs, reader: Reader, contents: Mapping[Path, bytes]) -> Iterator[Finding]:
    """Yield what a planner asks its own files for and will not find once these contents are written.

    Groups have at most `exporter.max_nodes` members, so no larger cluster is asked about.
    """
    config = inputs.config
    clusters = tuple(nodes for nodes in NODES if nodes * config.vm.gpus <= config.exporter.max_nodes)
    case = Case(inputs=inputs, clusters=clusters, new=contents)
    command = case.commands.export(config.exporter.name)
    yield from (finding for finding in findings(case, reader.files(case, command)) if not finding.fine)


def _shared(case: Case, reader: Reader) -> Iterator[File]:
    yield from simulator.files(case, reader)
    yield from bandwidths.files(case, reader)


def _made_by(finding: Finding, export: str, command: str) -> Finding:
    return replace(finding, command=command) if finding.command == export else finding


def _making(case: Case) -> str:
    """Return the command that writes the planner's files, after the one for the first thing that the export needs."""
    name = case.inputs.config.exporter.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            exporter_named(name).files(Inputs(case.inputs.config))
    except MissingCellError as error:
        return case.commands.then_export(error.command, name, gathered=False)
    except MissingInputError as error:
        return case.commands.then_export(error.command, name, gathered=True)
    except SailorExpError:
        pass
    return case.commands.export(name)
