"""Checks a whole command line before Hydra acts on it, so that one message reports every fault; then runs it.

Hydra stops at the first fault, after it has created a directory for the run. This module composes every override by
itself, then every cell of the grid, and writes nothing.
"""

import difflib
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sailor_exp.config.gpu_here import KindHere, kind_here
from sailor_exp.config.schema import CELL_KEYS, Cell, ExporterConfig, GatherConfig, cell_from, gather_from, register
from sailor_exp.errors import ConfigurationError, GpuHereError, SailorExpError
from sailor_exp.exporters.needed_cells import asked_cell, exporter_faults
from sailor_exp.exporters.registry import name_faults, planners, ready_faults
from sailor_exp.profiles.faults import faults, gather_faults
from sailor_exp.slurm.options import KEYS as LAUNCHER_KEYS

BROKEN, WRONG, INTERRUPTED = 1, 2, 130
"""Exit statuses: something is missing or failed, the command was wrong, the command was interrupted."""

_RUN_FLAGS = {"-m", "--multirun", "-r", "--run"}
_MULTIRUN_FLAGS = {"-m", "--multirun"}
_LAUNCHERS_HERE = {"local", "basic"}
_AUTO = re.compile(r"(?<![\w'\".-])(['\"]?)auto\1(?![\w'\".-])")
_ALL = re.compile(_AUTO.pattern.replace("auto", "all"))
_OF_EXPORTERS = {"export_root", "network_dir", "report"}

_PACKAGE = Path(__file__).resolve().parent
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""Directory of the configurations: inside the package in a wheel, beside the package in a checkout.

The directory inside the package comes first: a checkout has none, and a `conf` beside an installed package is not ours.
The copy of the code that SLURM jobs run has neither, and composes nothing.
"""


@dataclass(frozen=True, kw_only=True)
class Command:
    """How to check a command: the configuration that it composes, and the function that returns its faults.

    `axes`: keys that are set in a composed configuration, without a new composition. `crossed`: whether choices can be
    right one by one and wrong together.
    """

    config_name: str
    faults: Callable[[DictConfig], list[str]]
    axes: frozenset[str]
    crossed: bool


def launch_faults(cell: Cell) -> list[str]:
    """Return the faults of a cell, and of the exporter that it is measured for, one sentence each."""
    return [*faults(asked_cell(cell)), *exporter_faults(cell)]


LAUNCH = Command(
    config_name="launch",
    faults=lambda config: launch_faults(cell_from(config)),
    axes=frozenset(CELL_KEYS),
    crossed=True,
)


def gather_faults_of(gather: GatherConfig) -> list[str]:
    """Return the faults of a gathering or an export, one sentence each."""
    return [*gather_faults(gather), *name_faults(gather.exporter.name), *ready_faults(gather)]


def with_exporter(gather: GatherConfig, name: str) -> GatherConfig:
    """Return the configuration with another choice of exporter; keys of the former that differ from defaults stay."""
    defaults, former = asdict(ExporterConfig()), asdict(gather.exporter)
    given = {key: value for key, value in former.items() if key != "name" and value != defaults[key]}
    chosen = OmegaConf.load(CONF / "exporter" / f"{name}.yaml")
    composed = OmegaConf.structured(replace(gather, exporter=ExporterConfig()))
    composed.merge_with({"exporter": chosen}, {"exporter": given})
    return gather_from(composed)


GATHER = Command(
    config_name="gather", faults=lambda config: gather_faults_of(gather_from(config)), axes=frozenset(), crossed=False
)


def run(
    command: Command,
    task: Callable[[DictConfig], Any],
    arguments: Sequence[str] | None,
    *,
    prepared: Callable[[list[str]], list[str]] = lambda checked_arguments: checked_arguments,
    interrupted: str,
) -> int:
    """Check the command line, run the task under Hydra, and return the exit status.

    arguments: those of the process where None. prepared: called with the checked arguments; returns those for Hydra.
    interrupted: the message after an interrupt.
    """
    register()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.argv[1:] = prepared(checked(given, command))
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=command.config_name)(task)()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return WRONG
    except SailorExpError as error:
        print(error, file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        return INTERRUPTED
    return 0


def checked(arguments: Sequence[str], command: Command = LAUNCH) -> list[str]:
    """Return the arguments in Hydra's form: numeric group choices (`vm=4`) are quoted, and choices of ours resolved.

    These are `gpu=auto` and `exporter=all`, which stands for every planner.

    Checks only plain runs and sweeps; `--help`, `--cfg` and similar commands go to Hydra unchecked, except that
    `gpu=auto` must stand for a kind. Prints to standard error what it stands for.
    Raises ConfigurationError with every fault of every override and every cell.
    """
    assert (CONF / f"{command.config_name}.yaml").is_file(), f"the configurations are not in {CONF}"  # noqa: S101
    quoted = [_with_all_planners(_with_quoted_choice(argument)) for argument in arguments]
    resolved, command_faults = _with_gpu_here(quoted, command)
    flags = {argument for argument in resolved if argument.startswith("-")}
    if flags <= _RUN_FLAGS:
        overrides = [argument for argument in resolved if not argument.startswith("-")]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            command_faults += _Check(command, multirun=bool(flags & _MULTIRUN_FLAGS)).faults_of(overrides)
    if command_faults:
        raise ConfigurationError(command_faults)
    return resolved


def _with_quoted_choice(argument: str) -> str:
    """Quote the choices of a group, since Hydra takes only strings: `vm=1,4` becomes `vm='1','4'`."""
    group, equals, choices = argument.partition("=")
    if not equals or not group.isidentifier() or not (CONF / group).is_dir():
        return argument
    return f"{group}=" + re.sub(r"(?<![\w'\".-])(\d+)(?![\w'\".-])", r"'\1'", choices)


def _with_all_planners(argument: str) -> str:
    if not argument.startswith("exporter=") or _ALL.search(argument) is None:
        return argument
    return _ALL.sub(",".join(planners()), argument)


def _with_gpu_here(arguments: list[str], command: Command) -> tuple[list[str], list[str]]:
    """Return the arguments with the choice that `gpu=auto` stands for, and the faults of that.

    Where it stands for none, what the arguments say of the GPU is left out: the rest can be checked without it.
    """
    if not any(_asks_for_gpu_here(argument) for argument in arguments):
        return arguments, []
    if command is not GATHER and (launchers := _submitting(arguments)):
        fault = f"gpu=auto is the GPU of this machine, and {launchers[0]} measures on another: name the kind"
        return _without_gpu(arguments), [fault]
    try:
        kind = kind_here([CONF / "gpu", *_added_gpus(arguments)])
    except GpuHereError as error:
        return _without_gpu(arguments), [str(error)]
    _offer(kind)
    chosen = [_AUTO.sub(kind.choice, one) if _asks_for_gpu_here(one) else one for one in arguments]
    return chosen, []


def _asks_for_gpu_here(argument: str) -> bool:
    return argument.startswith("gpu=") and _AUTO.search(argument) is not None


def _submitting(arguments: Sequence[str]) -> list[str]:
    """Return the choice of a launcher, unless it runs the cells on this machine."""
    chosen = [argument for argument in arguments if argument.startswith("hydra/launcher=")]
    return [argument for argument in chosen if argument.partition("=")[2].strip("'\"") not in _LAUNCHERS_HERE]


def _without_gpu(arguments: Sequence[str]) -> list[str]:
    return [argument for argument in arguments if not argument.startswith(("gpu=", "gpu."))]


def _added_gpus(arguments: Sequence[str]) -> list[Path]:
    """Return the directory of GPUs in what `--config-dir` names, as Hydra reads it."""
    added: str | None = get_args_parser().parse_known_args(arguments)[0].config_dir
    return [] if added is None else [Path(added) / "gpu"]


def _offer(kind: KindHere) -> None:
    """Say on standard error what `gpu=auto` stands for, and let Hydra find a kind that was made on the spot."""
    print(f"gpu=auto is gpu={kind.choice}: found {kind.found}", file=sys.stderr)
    if kind.made is not None:
        ConfigStore.instance().store(group="gpu", name=kind.choice, node=kind.made)
        where = f"conf/gpu/{kind.choice}.yaml, or gpu/{kind.choice}.yaml where --config-dir looks"
        until_then = f"Until then give gpu=auto where a message advises gpu={kind.choice}"
        print(f"To keep this kind, write it to {where}. {until_then}.", file=sys.stderr)
        print(f"\n{OmegaConf.to_yaml(kind.made)}", file=sys.stderr)


class _Check:
    def __init__(self, command: Command, *, multirun: bool) -> None:
        self._command = command
        self._multirun = multirun
        self._faults: list[str] = []

    def faults_of(self, overrides: Sequence[str]) -> list[str]:
        self._faults += self._launcher_faults(overrides)
        usable = overrides if self._command is GATHER else self._with_usable_exporter(overrides)
        parsed = sorted(self._parsed(usable), key=lambda override: not _chooses_a_group(override))
        choices = [self._values(override) for override in parsed]
        if self._faults or self._faults_together(choices):
            accepted: list[list[str]] = []
            for values in choices:
                chosen = [former[0] for former in accepted]
                fitting = [value for value in values if self._composes(value, chosen)]
                accepted += [fitting] if fitting else []
            self._faults += self._faults_together(accepted)
        return list(dict.fromkeys(self._faults))

    def _launcher_faults(self, overrides: Sequence[str]) -> list[str]:
        """Return the faults of a chosen launcher: Hydra uses none in a single run, which would measure on this node."""
        chosen = [override for override in overrides if override.startswith("hydra/launcher=")]
        if self._command is GATHER:
            return [f"{override}: gathering runs where it is started: leave it out" for override in chosen]
        return (
            []
            if self._multirun
            else [f"{override}: Hydra uses a launcher only in a sweep: add -m" for override in chosen]
        )

    def _with_usable_exporter(self, overrides: Sequence[str]) -> list[str]:
        """Return the overrides of a launch without those that contradict its exporter, or need one."""
        keys = {override.partition("=")[0] for override in overrides}
        if "exporter" not in keys:
            reasons = {
                override: "nothing is exported: add exporter=..., or leave it out"
                for override in overrides
                if override.startswith("exporter.") or override.partition("=")[0] in _OF_EXPORTERS
            }
        else:
            alone = "measures more than one cell: add -m"
            both = "an exporter measures the profiles that it needs: leave it out"
            reasons = {
                **({} if self._multirun else {one: alone for one in overrides if one.startswith("exporter=")}),
                **{one: both for one in overrides if one.startswith("profile=")},
            }
        self._faults += [f"{override}: {reason}" for override, reason in reasons.items()]
        return [override for override in overrides if override not in reasons]

    def _parsed(self, overrides: Sequence[str]) -> list[Override]:
        parser = OverridesParser.create()
        parsed = []
        for override in overrides:
            try:
                parsed.append(parser.parse_override(override))
            except HydraException as error:
                self._faults.append(f"{override}: {_first_line(error)}")
        unusable = {override.input_line: _unusable(override) for override in parsed}
        self._faults += [f"{line}: {reason}" for line, reason in unusable.items() if reason]
        return [override for override in parsed if not unusable[override.input_line]]

    def _values(self, override: Override) -> list[str]:
        if not override.is_sweep_override():
            return [str(override.input_line)]
        if not self._multirun:
            self._faults.append(f"{override.input_line}: several values need a sweep: add -m")
        key = override.get_key_element()
        return [f"{key}={value}" for value in override.sweep_string_iterator()]

    def _composes(self, override: str, chosen: list[str]) -> bool:
        if self._axis(override) and override.partition("=")[2].isdigit():
            return True
        try:
            compose(self._command.config_name, [*chosen, override])
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            self._faults.append(self._explained(override, error))
            return False
        return True

    def _faults_together(self, choices: Sequence[list[str]]) -> list[str]:
        """Compose every combination of the choices, or those that can matter, and return their faults."""
        axes = [values for values in choices if self._axis(values[0])]
        rest = [values for values in choices if not self._axis(values[0])]
        cell_faults = []
        for choice in itertools.product(*rest) if self._command.crossed else _one_by_one(rest):
            cell_faults += self._faults_of_cells(list(choice), axes)
        return cell_faults

    def _faults_of_cells(self, choice: list[str], axes: list[list[str]]) -> list[str]:
        """Compose what the cells share once, and set the axes in it: a composition takes a tenth of a second."""
        cell_faults = []
        try:
            config = compose(self._command.config_name, choice)
            for values in itertools.product(*axes):
                config.merge_with_dotlist(list(values))
                cell_faults += self._command.faults(config)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            cell_faults.append(f"{' '.join(choice)}: {_first_line(error.__cause__ or error)}")
        return cell_faults

    def _axis(self, override: str) -> bool:
        return override.partition("=")[0] in self._command.axes

    def _explained(self, override: str, error: Exception) -> str:
        key, _, value = override.partition("=")
        if isinstance(error, MissingConfigException) and error.options:
            return f"{override}: there is no {key} {value}. Choose from {', '.join(error.options)}."
        if _names_no_key_of_the_launcher(key, error):
            keys = ", ".join(LAUNCHER_KEYS)
            return f"{override}: {_first_line(error.__cause__ or error)}. The launcher's keys: {keys}."
        if _first_line(error).startswith("Could not override"):
            return f"{override}: there is no key {key}.{self._suggestion(key)}"
        return f"{override}: {_first_line(error.__cause__ or error)}"

    def _suggestion(self, key: str) -> str:
        known = _keys(compose(self._command.config_name))
        near = difflib.get_close_matches(key, known, n=1)
        return f" Did you mean {near[0]}?" if near else ""


def _names_no_key_of_the_launcher(key: str, error: Exception) -> bool:
    """Whether the launcher lacks a key that the command line or a site's file sets."""
    of_launcher = key.startswith("hydra.launcher.") and _first_line(error).startswith("Could not override")
    return of_launcher or "not in 'SlurmOptions'" in str(error.__cause__ or error)


def _unusable(override: Override) -> str | None:
    """Return why an override that Hydra accepts makes no sense here, or None where it does."""
    if override.is_delete():
        return "no key can be taken away: each has a reader"
    if (override.is_add() or override.is_force_add()) and not override.key_or_group.startswith("hydra"):
        return "a key that is not there is read by nothing: leave out the +"
    if isinstance(override.value(), Glob):
        return "name the choices: glob is not supported here"
    if _chooses_a_group(override) and isinstance(override.value(), list):
        return "brackets would mix the choices into one: leave them out"
    return None


def _chooses_a_group(override: Override) -> bool:
    return (CONF / override.key_or_group).is_dir()


def _one_by_one(axes: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Yield the first choices of all axes, then each other choice with the first choices of the other axes."""
    first = [choices[0] for choices in axes]
    yield first
    for place, choices in enumerate(axes):
        yield from ([*first[:place], choice, *first[place + 1 :]] for choice in choices[1:])


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        name = f"{prefix}{key!s}"
        nested = not OmegaConf.is_missing(config, key) and isinstance(config[key], DictConfig)
        keys += [name, *_keys(config[key], f"{name}.")] if nested else [name]
    return keys


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
