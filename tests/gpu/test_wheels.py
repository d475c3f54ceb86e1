"""What `tests/gpu/wheels` collects is all that a bare machine lacks, in the versions that were tested together."""

import re
import tomllib
from importlib.metadata import requires

from packaging.requirements import Requirement

from tests.gpu.by_command import ROOT

ON_THE_MACHINE = {
    "cloudpickle", "msgpack", "ninja", "numpy", "packaging", "psutil", "py-cpuinfo", "pyyaml", "rich", "torch", "tqdm",
    "triton", "typing-extensions",
}  # fmt: skip
"""Of an image for machine learning, with torch and transformers; as listed for the machines that `prove` is for."""


def name_of(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def carried():
    script = (ROOT / "tests/gpu/wheels").read_text()
    named = [match[1].split() for match in re.finditer(r'^(?:built|ready)="([^"]*)"', script, re.MULTILINE)]
    return {name_of(name) for names in named for name in names}


def needs(name):
    there = {"extra": "", "python_version": "3.12", "python_full_version": "3.12.3"}
    asked = [Requirement(one) for one in requires(name) or []]
    return {name_of(one.name) for one in asked if one.marker is None or one.marker.evaluate(there)}


def test_all_that_the_package_needs_is_carried_or_there():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {name_of(one) for one in declared} <= carried() | ON_THE_MACHINE
    for name in carried():
        assert needs(name) <= carried() | ON_THE_MACHINE, name


def test_every_wheel_has_one_version_for_the_machines_python():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    for name in carried():
        versions = [pin for pin in pins if name_of(pin) == name and 'python_version < "3.12"' not in pin]
        assert len(versions) == 1, (name, versions)
