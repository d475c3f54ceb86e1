"""Cells as the command line composes them."""

from hydra import compose, initialize_config_dir

from sailor_exp.command_line import CONF
from sailor_exp.config import Cell, cell_from, register


def cell(*overrides: str) -> Cell:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return cell_from(compose("launch", list(overrides)))
