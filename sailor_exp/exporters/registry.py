"""The planners that can be exported to: a line each."""

from collections.abc import Callable
from dataclasses import dataclass

from sailor_exp.exporters import amp, metis, oobleck, piper, varuna
from sailor_exp.exporters.galvatron import exporter
from sailor_exp.exporters.source import Source


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """How a planner's files are made, from what.

    `files` returns contents by name, below the planner's directory `sailor/Planner/baselines/{planner}/profiles`.
    `extra`: the profile of `launch.py` whose file it reads; `network` and `overlap`: whether it reads those.
    """

    planner: str
    files: Callable[[Source], dict[str, bytes]]
    extra: str | None = None
    network: bool = False
    overlap: bool = False


EXPORTERS = {
    "amp": Exporter(planner="AMP", files=amp.files),
    "galvatron": Exporter(planner="Galvatron", files=exporter.files, extra="galvatron", network=True, overlap=True),
    "metis": Exporter(planner="Metis", files=metis.files),
    "oobleck": Exporter(planner="Oobleck", files=oobleck.files, extra="oobleck", network=True),
    "piper": Exporter(planner="Piper", files=piper.files),
    "varuna": Exporter(planner="Varuna", files=varuna.files, extra="varuna"),
}
