"""Shows what planners find: one table, the planners that are not ready, and the commands that fill the holes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from sailor_exp.config.schema import GatherConfig
from sailor_exp.exporters.readers.reader import NODES, Finding, State
from sailor_exp.exporters.readers.ready import Answer

_WIDTH = 100
_LONGEST_NAME = len("multizone_bandwidths_het.json")
_MOST_NAMES = 3
_WITH_PLACE = {State.missing, State.damaged, State.other_model}
_COLOURS = {State.ready: "green", State.maybe: "yellow", State.unchecked: "yellow"}


def shown(config: GatherConfig, answers: Sequence[Answer]) -> Iterator[RenderableType]:
    """Yield the table of all files, the answer, and the commands, each once, in the order in which to run them."""
    commands = _commands(answers)
    yield _table(config, answers, commands)
    for answer in answers:
        holes = sum(not finding.fine for finding in (*answer.shared, *answer.own))
        yield f"{answer.planner}: {'ready' if answer.ready else 'not ready, ' + _counted(holes, 'hole')}"
    for number, command in enumerate(commands, 1):
        yield f"[{number}] {command}"
    yield _given(config)


def _table(config: GatherConfig, answers: Sequence[Answer], commands: Sequence[str]) -> Table:
    title = f"{config.model.name} on {config.gpu.name}, 1 to {max(NODES)} VMs of {_counted(config.vm.gpus, 'GPU')}"
    table = Table(title=f"{title} in zone {config.exporter.zone}, in {config.export_root}/", title_justify="left")
    table.width = _WIDTH
    table.add_column("file", overflow="fold", width=_LONGEST_NAME)
    table.add_column("opened for", width=18)
    table.add_column("state", no_wrap=True)
    table.add_column("what", overflow="fold", ratio=1)
    shared = _rows((answer.planner, answer.shared) for answer in answers)
    own = _rows((answer.planner, answer.own) for answer in answers)
    for rows in (shared, own):
        for row in rows:
            _add(table, Path(config.export_root), row, len(answers), commands)
        table.add_section()
    return table


class _Row(NamedTuple):
    """Files of one directory about which the same is to be said, and the planners that open them."""

    planners: tuple[str, ...]
    finding: Finding
    names: str


def _add(table: Table, root: Path, row: _Row, asked: int, commands: Sequence[str]) -> None:
    finding, planners = row.finding, "all" if len(row.planners) == asked > 1 else ", ".join(row.planners)
    colour = _COLOURS.get(finding.state, "red")
    table.add_row(row.names, planners, f"[{colour}]{finding.state}[/]", escape(_what(root, finding, commands)))


def _what(root: Path, finding: Finding, commands: Sequence[str]) -> str:
    directory = finding.path.parent
    where = f"in {directory.relative_to(root) if directory.is_relative_to(root) else directory}/"
    words = [where] if finding.state in _WITH_PLACE else []
    words += [finding.text] if finding.text else []
    words += [f"(from {finding.nodes} VMs)"] if finding.nodes > 1 else []
    words += [f"[{commands.index(finding.command) + 1}]"] if finding.command else []
    return " ".join(words)


def _rows(found: Iterable[tuple[str, Sequence[Finding]]]) -> list[_Row]:
    """Return the rows, those of one file beside each other."""
    planners: dict[Finding, list[str]] = {}
    for planner, findings in found:
        for finding in dict.fromkeys(findings):
            planners.setdefault(finding, []).append(planner)
    alike: dict[object, list[Finding]] = {}
    for one, names in planners.items():
        key = (tuple(names), one.path.parent, one.state, one.text, one.command, one.nodes)
        alike.setdefault(key, []).append(one)
    rows = [
        _Row(tuple(planners[group[0]]), group[0], _named([finding.path for finding in group]))
        for group in alike.values()
    ]
    order = list(dict.fromkeys(row.finding.path for row in rows))
    return sorted(rows, key=lambda row: order.index(row.finding.path))


def _named(paths: Sequence[Path]) -> str:
    names = [f"{path.parent.name}/{path.name}" if path.suffix == ".py" else path.name for path in paths]
    return ", ".join(names) if len(names) <= _MOST_NAMES else f"{names[0]} to {names[-1]}, {len(names)} files"


def _commands(answers: Sequence[Answer]) -> list[str]:
    shared = [finding.command for answer in answers for finding in answer.shared]
    own = [finding.command for answer in answers for finding in answer.own]
    return [command for command in dict.fromkeys([*shared, *own]) if command is not None]


def _given(config: GatherConfig) -> str:
    layers = config.model.num_layers + (3 if config.model.separate_final_norm else 2)
    return (
        "Not checked: the files that you give to Sailor's simulator.py. basic_cluster_config.json must have "
        f'{config.gpu.name} with "gpus_per_node": {config.vm.gpus}, and "zone": "{config.exporter.zone}"; the training '
        f'configuration "model": "{config.model.name}", "num_layers": {config.model.num_layers}, "num_all_layers": '
        f"{layers}."
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
