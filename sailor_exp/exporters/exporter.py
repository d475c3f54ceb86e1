"""The interface of an exporter: a function from inputs to the contents of files.

An exporter is the `EXPORTER` of a module, or of `exporter.py` in a folder, with the name that `exporter=` takes.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sailor_exp.exporters.needs import LINKS, Asked, Need, Needs, gathered, grid_asked, of_profile, simulated
from sailor_exp.files.whole import make_directory, remove_unfinished, write_all

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sailor_exp.exporters.inputs import Inputs
    from sailor_exp.exporters.readers.reader import Reader


@dataclass(frozen=True, kw_only=True)
class Export:
    """The result of an exporter.

    `files`: contents by path. `shown`: output for the terminal before they are written. `summary`: one line for all
    files; None for one line per file. `lacking`: what a reader of the files needs and does not find.
    """

    files: Mapping[Path, bytes]
    shown: "tuple[RenderableType, ...]" = ()
    summary: str | None = None
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """An exporter and the settings that its files depend on.

    `files` returns all contents and writes nothing; it raises an error where an input is missing. `needs`: what must be
    measured before. `about_model`, `about_vm`: whether the files differ with the model, and with the GPUs of a VM.
    `reads_database`: whether they come from the gathered database. `reader`: the planner that opens them.
    """

    files: "Callable[[Inputs], Export]"
    needs: Needs = grid_asked
    about_model: bool = True
    about_vm: bool = False
    reads_database: bool = False
    reader: "Reader | None" = None


def planner(
    reader: "Reader", files: "Callable[[Inputs], Mapping[str, bytes]]", *, needs: Needs = lambda _: []
) -> Exporter:
    """Return the exporter of a planner that Sailor is compared with.

    files: returns contents by file name. What the reader asks for with one VM and does not find in them is lacking; a
    warning says what it asks for with more, and what no command fills. needs: what the planner needs beside what all
    need: the gathered database with all that the simulator looks up, and the links, whose bandwidths all open.
    """

    def all_needs(asked: Asked) -> list[Need]:
        return [*gathered(asked), *simulated(asked), *needs(asked), *of_profile(LINKS, asked)]

    def export(inputs: "Inputs") -> Export:
        directory = inputs.place.baseline(reader.planner)
        contents = {directory / file: content for file, content in files(inputs).items()}
        count = "1 file" if len(contents) == 1 else f"{len(contents)} files"
        return Export(
            files=contents,
            summary=f"{count} in {directory}/: {', '.join(path.name for path in contents)}",
            lacking=tuple(_lacking(inputs, reader, contents)),
        )

    return Exporter(files=export, needs=all_needs, about_vm=True, reads_database=True, reader=reader)


def _lacking(inputs: "Inputs", reader: "Reader", contents: Mapping[Path, bytes]) -> Iterator[str]:
    from sailor_exp.exporters.readers.ready import unready_in

    for finding in unready_in(inputs, reader, contents):
        if finding.nodes > 1 or finding.command is None:
            warnings.warn(f"{reader.planner}: {finding}", stacklevel=3)
        else:
            yield str(finding)


def write(files: Mapping[Path, bytes]) -> None:
    """Write all files or, where the disk is full, none; remove unfinished files of killed writers beside them.

    Raises StorageError.
    """
    for directory in dict.fromkeys(path.parent for path in files):
        make_directory(directory)
        remove_unfinished(directory)
    write_all(files)
