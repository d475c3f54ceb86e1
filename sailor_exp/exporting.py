"""The end of a launch with `exporter=`: exports what was measured, and says what each planner has and what it lacks."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sailor_exp.exporters.needed_cells import Plan
from sailor_exp.gathering import Done, export_all, key_of, name_of


def export(plan: Plan, unmeasured: Mapping[int, str], page: Console) -> bool:
    """Export all of a plan, and print one table. Return whether nothing is missing.

    unmeasured: why a job of the plan has no result, by its place.
    """
    done = export_all([one.gather for one in plan.exports])
    missing = {key_of(one.job): [*one.lacking] for one in done}
    for one in plan.exports:
        missing[key_of(one.gather)] += [unmeasured[place] for place in sorted(one.jobs & unmeasured.keys())]
    page.print(_table(done, missing))
    return not any(missing.values())


def _table(done: Sequence[Done], missing: Mapping[str, Sequence[str]]) -> Table:
    roots = dict.fromkeys(one.job.export_root for one in done)
    table = Table(title=f"exports, below {' and '.join(roots)}{os.sep}", title_justify="left")
    for column in ("export", "files", "missing, and why"):
        table.add_column(column, overflow="fold")
    for one in done:
        reasons = "\n".join(dict.fromkeys(missing[key_of(one.job)]))
        table.add_row(name_of(one.job), escape(_files(one)), f"[red]{escape(reasons)}[/]" if reasons else "nothing")
        table.add_section()
    return table


def _files(done: Done) -> str:
    """Return the path of one file, or the directory of several; below the root where they lie there."""
    if not done.files:
        return "none"
    common = Path(os.path.commonpath(done.files))
    root = Path(done.job.export_root)
    short = common.relative_to(root) if common.is_relative_to(root) else common
    return str(short) if len(done.files) == 1 else f"{len(done.files)} in {short}{os.sep}"
