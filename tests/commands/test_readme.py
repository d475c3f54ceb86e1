"""The README stays true: its example composes, and it names every choice that there is."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sailor_exp.config.schema import ModelConfig
from sailor_exp.profiles.faults import faults
from tests.build.cells import cell

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()


def test_the_model_that_the_readme_adds_is_one_that_can_be_measured():
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    added = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), OmegaConf.create(example)))
    asked = cell()
    asked.model = added
    assert faults(asked) == []
    assert asked.model.num_query_groups == 12


@pytest.mark.parametrize("group", ["model", "gpu", "vm", "profile"])
def test_the_readme_names_every_choice_of_a_group(group):
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{group}` |")]
    named = re.findall(r"`([^`]+)`", row.split("|")[2])
    assert sorted(named) == sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def test_the_readme_gives_every_dependency_a_reason():
    pyproject = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[(.*?)^\]", pyproject, re.DOTALL | re.MULTILINE)
    for name in re.findall(r'"([a-z-]+)', block.group(1)):
        assert re.search(rf"^\|[^|]*\b{name}\b[^|]*\|", README, re.MULTILINE), name


def test_every_target_that_the_readme_names_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_lock_names_no_build_and_no_place():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*( ; python_version .*)?", line)


def test_the_demonstration_of_everything_runs_what_the_readme_says():
    """`make demo-all` is run by CI, so the commands of that section are."""
    (section,) = re.findall(r"as `make demo-all` does it:\n\n```\n(.*?)```", README, re.DOTALL)
    recipe = re.search(r"^demo-all:.*?\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert section.splitlines() == [line.replace("\t$(BIN)/", "") for line in recipe[1].splitlines()]
