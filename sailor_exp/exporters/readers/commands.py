"""The commands that fill holes: those of profiles/advice.py, with the directories that the question was asked about."""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace

from sailor_exp.config.schema import ExporterConfig, GatherConfig
from sailor_exp.profiles.advice import Advice, advice_of, started

_PLAIN = re.compile(r"[\w./+-]+")


class Commands:
    """Commands about a model, GPU and VM."""

    def __init__(self, config: GatherConfig) -> None:
        self._config = config

    def gather(self) -> str:
        return self._placed(self._advice().gather())

    def measure(self, cells: Iterable[tuple[int, int]]) -> str:
        """Return the command that measures cells (tp, mbs) and gathers them."""
        return self._placed(f"{self._advice().measure(cells)} && {self._advice().gather()}")

    def fit(self, scope: str, gpus: int) -> str:
        """Return the command that measures the links of VMs with so many GPUs, and merges them into every file."""
        return self._placed(self._advice(gpus).fit(scope))

    def profile(self, name: str, gpus: int) -> str:
        """Return the command that measures a profile in VMs of so many GPUs."""
        return self._placed(self._advice(gpus).profile(name))

    def export(self, exporter: str, *overrides: str) -> str:
        """Return the command that writes a planner's files."""
        words = [self._advice().gather(), f"exporter={exporter}", f"vm={self._config.vm.gpus}", *overrides]
        return self._placed(" ".join(words))

    def then_export(self, command: str, exporter: str, *, gathered: bool) -> str:
        """Return a command of an exporter's error and the export. gathered: whether its result is in the database."""
        first = command if gathered else f"{command} && {self._advice().gather()}"
        return f"{self._placed(first)} && {self.export(exporter)}"

    def _advice(self, gpus: int | None = None) -> Advice:
        advice = advice_of(self._config)
        return advice if gpus is None else replace(advice, vm=gpus)

    def _placed(self, command: str) -> str:
        parts = [[part, *self._overrides(part.split())] for part in command.split(" && ")]
        return " && ".join(" ".join(part) for part in parts)

    def _overrides(self, words: list[str]) -> Iterator[str]:
        """Yield the overrides of a command that differ from the defaults of conf/gather.yaml and conf/launch.yaml."""
        config, gathers = self._config, " ".join(words).startswith(started("gather"))
        links = bool({"profile=network", "profile=overlap", "exporter=network"} & {*words})
        directory = config.network_dir if links else config.profile_dir
        if directory != f"outputs/{'network' if links else config.model.name}/{config.gpu.name}":
            yield _override("network_dir" if links and gathers else "profile_dir", directory)
        if gathers and config.export_root != "outputs/export":
            yield _override("export_root", config.export_root)
        if "exporter=network" in words and config.exporter.zone != ExporterConfig().zone:
            yield _override("exporter.zone", config.exporter.zone)


def _override(key: str, value: str) -> str:
    return f"{key}={value}" if _PLAIN.fullmatch(value) else shlex.quote(f"{key}='{value}'")
