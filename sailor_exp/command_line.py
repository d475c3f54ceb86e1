"""Checks a command line as a whole before Hydra acts on it, so that every fault is told in one message.

Hydra stops at the first fault that it meets, and has by then made a directory for the run. Here every override
is composed by itself, then every cell of the grid, and nothing is written.
"""

import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sailor_exp.config import cell_from, faults
from sailor_exp.errors import ConfigurationError
from sailor_exp.slurm.options import KEYS as LAUNCHER_KEYS

CONF = Path(__file__).resolve().parent.parent / "conf"
_RUN_FLAGS = {"-m", "--multirun", "-r", "--run"}
_MULTIRUN_FLAGS = {"-m", "--multirun"}


def checked(arguments: Sequence[str], config_name: str = "launch") -> list[str]:
    """Return the arguments as Hydra wants them, numeric group choices (`vm=4`) quoted.

    Only plain runs and sweeps are checked; `--help`, `--cfg` and the like go to Hydra as they are.
    Raises ConfigurationError with every fault of every override and every cell.
    """
    quoted = [_with_quoted_choice(argument) for argument in arguments]
    flags = {argument for argument in quoted if argument.startswith("-")}
    if flags <= _RUN_FLAGS:
        overrides = [argument for argument in quoted if not argument.startswith("-")]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            found = _Check(config_name, multirun=bool(flags & _MULTIRUN_FLAGS)).faults_of(overrides)
        if found:
            raise ConfigurationError(found)
    return quoted


def _with_quoted_choice(argument: str) -> str:
    """Hydra takes only strings as choices of a group: `vm=1,4` becomes `vm='1','4'`."""
    group, equals, choices = argument.partition("=")
    if not equals or not group.isidentifier() or not (CONF / group).is_dir():
        return argument
    return f"{group}=" + ",".join(f"'{choice}'" if choice.isdigit() else choice for choice in choices.split(","))


class _Check:
    def __init__(self, config_name: str, *, multirun: bool) -> None:
        self._config_name = config_name
        self._multirun = multirun
        self._found: list[str] = []

    def faults_of(self, overrides: Sequence[str]) -> list[str]:
        self._found += [] if self._multirun else _launchers_without_sweep(overrides)
        parsed = sorted(self._parsed(overrides), key=lambda override: not _chooses_a_group(override))
        accepted: list[list[str]] = []
        for override in parsed:
            chosen = [choices[0] for choices in accepted]
            values = [value for value in self._values(override) if self._composes(value, chosen)]
            accepted += [values] if values else []
        axes = [choices for choices in accepted if _axis(choices[0])]
        rest = [choices for choices in accepted if not _axis(choices[0])]
        for choice in itertools.product(*rest):
            self._check_cells(list(choice), axes)
        return list(dict.fromkeys(self._found))

    def _parsed(self, overrides: Sequence[str]) -> list[Override]:
        parser = OverridesParser.create()
        parsed = []
        for override in overrides:
            try:
                parsed.append(parser.parse_override(override))
            except HydraException as error:
                self._found.append(f"{override}: {_first_line(error)}")
        return parsed

    def _values(self, override: Override) -> list[str]:
        if not override.is_sweep_override():
            return [str(override.input_line)]
        if not self._multirun:
            self._found.append(f"{override.input_line}: several values need a sweep: add -m")
        key = override.get_key_element()
        return [f"{key}={value}" for value in override.sweep_string_iterator()]

    def _composes(self, override: str, chosen: list[str]) -> bool:
        if _axis(override) and override.partition("=")[2].isdigit():
            return True
        try:
            compose(self._config_name, [*chosen, override])
        except (HydraException, OmegaConfBaseException) as error:
            self._found.append(self._explained(override, error))
            return False
        return True

    def _check_cells(self, choice: list[str], axes: list[list[str]]) -> None:
        """Compose what the cells share once, and set tp and mbs in it: composing takes a tenth of a second."""
        try:
            config = compose(self._config_name, choice)
            for values in itertools.product(*axes):
                config.merge_with_dotlist(list(values))
                self._found += faults(cell_from(config))
        except (HydraException, OmegaConfBaseException) as error:
            self._found.append(f"{' '.join(choice)}: {_first_line(error.__cause__ or error)}")

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
        known = _keys(compose(self._config_name))
        near = difflib.get_close_matches(key, known, n=1)
        return f" Did you mean {near[0]}?" if near else ""


def _names_no_key_of_the_launcher(key: str, error: Exception) -> bool:
    """Whether a key is not the launcher's, on the command line or in a site's file."""
    of_launcher = key.startswith("hydra.launcher.") and _first_line(error).startswith("Could not override")
    return of_launcher or "not in 'SlurmOptions'" in str(error.__cause__ or error)


def _launchers_without_sweep(overrides: Sequence[str]) -> list[str]:
    """Hydra asks its launcher only in a sweep: a single run would measure here, on a login node."""
    chosen = [override for override in overrides if override.startswith("hydra/launcher=")]
    return [f"{override}: Hydra uses a launcher only in a sweep: add -m" for override in chosen]


def _chooses_a_group(override: Override) -> bool:
    return (CONF / override.key_or_group).is_dir()


def _axis(override: str) -> bool:
    return override.partition("=")[0] in {"tp", "mbs"}


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        name = f"{prefix}{key!s}"
        nested = not OmegaConf.is_missing(config, key) and isinstance(config._get_node(key), DictConfig)  # noqa: SLF001
        keys += [name, *_keys(config[key], f"{name}.")] if nested else [name]
    return keys


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
