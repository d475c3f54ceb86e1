"""docs/gpu.md, from the findings of a run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = """# What was shown on a GPU

`tests/gpu/prove` makes this page from the findings of one run. It is not written by hand.
"""
_EMULATED = """
**This was an emulation on a CPU. No figure here says anything of a GPU.**
"""


def page(findings: Mapping[str, Any]) -> str:
    """The page, in Markdown. `findings`: what `prove` writes as JSON."""
    lines = [
        _HEAD,
        _EMULATED if findings["emulated"] else "",
        _run(findings),
        "",
        *_table(findings["checks"]),
    ]
    return "\n".join(lines) + "\n"


def _run(findings: Mapping[str, Any]) -> str:
    counts = Counter(row["verdict"] for row in findings["checks"])
    verdicts = ", ".join(f"{verdict}: {count}" for verdict, count in counts.items())
    run = f"Run {findings['started_at']}, commit {findings['commit']}, size {findings['size']}"
    return f"{run}, {findings['seconds']:.0f} s. {verdicts}."


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["| check | limit | found | verdict | s | why this limit |", "|---|---|---|---|---|---|"]
    cells = [
        [row["name"], row["limit"], row["figure"], row["verdict"], f"{row['seconds']:.1f}", row["source"]]
        for row in rows
    ]
    return [*head, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells)]
