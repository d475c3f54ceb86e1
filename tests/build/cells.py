"""Configurations as the command lines compose them."""

from functools import cache

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from sailor_exp.command_line import CONF
from sailor_exp.config.schema import Cell, GatherConfig, cell_from, gather_from, register


def cell(*overrides: str) -> Cell:
    """A cell of conf/launch.yaml; a new object each time."""
    return cell_from(_composed("launch", overrides))


def gather_config(*overrides: str) -> GatherConfig:
    """What conf/gather.yaml asks for."""
    return gather_from(_composed("gather", overrides))


@cache
def _composed(config_name: str, overrides: tuple[str, ...]) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config_name, list(overrides))
