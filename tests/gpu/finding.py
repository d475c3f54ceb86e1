"""What a check is and what it found. Only the standard library: `prove` starts before anything is installed."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How a check ended; `shown`: a figure without a limit."""

    passed = "pass"
    failed = "FAIL"
    shown = "shown"
    not_run = "not run"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict on a check, and the figure that it rests on; for a check that did not run: why."""

    verdict: Verdict
    figure: str


class CannotRunError(Exception):
    """A check that cannot run here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One claim about the program on a GPU. `limit`: when it holds; `source`: why that limit."""

    name: str
    limit: str
    source: str
    run: Callable[[Any], Finding]


def judged(figure: str, *, holds: bool) -> Finding:
    """The finding of a check that has a limit."""
    return Finding(verdict=Verdict.passed if holds else Verdict.failed, figure=figure)


def shown(figure: str) -> Finding:
    """The finding of a check that has none."""
    return Finding(verdict=Verdict.shown, figure=figure)


def ended(error: BaseException) -> Finding:
    """The finding of a check that an error ended."""
    if isinstance(error, CannotRunError):
        return Finding(verdict=Verdict.not_run, figure=str(error))
    first_line = str(error).strip().partition("\n")[0]
    return Finding(verdict=Verdict.failed, figure=f"{type(error).__name__}: {first_line}")
