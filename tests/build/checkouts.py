"""A checkout of Sailor in sight: the published data of OPT-350; code and bandwidth files of the published shapes."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sailor_exp.command_line import with_exporter
from sailor_exp.config.schema import GatherConfig
from sailor_exp.exporters.exporter import write as write_files
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.readers.ready import Answer, answer
from sailor_exp.exporters.registry import exporter_named, planners
from tests.build import reference_data
from tests.build.network_exports import ALL, INTRA, MEASURED, fit, there, zones

ZONE = "us-central1-a"
GPU = "A100-40"
LLM_INFO = Path("sailor/Planner/llm_info.json")
SIMULATOR = Path("sailor/Planner/simulations/profiles_tmp.json")
COSTS = Path("sailor/providers/gcp/communication_cost.json")

CODE = {
    "sailor/Planner/simulations/constants.py": (
        f"GPU_PRICES = {{'{GPU}': {{'{ZONE}': 3.67}}}}\nGPU_MEMORY_GB = {{'{GPU}': 40}}\n"
    ),
    "sailor/Planner/simulations/utils.py": "models = {'OPT-350': Model(1400 * 1e6, 2097152, [])}\n",
    "sailor/Planner/baselines/Metis/utils.py": "class DeviceType(Enum):\n    A100_40 = 'a100-40'\n",
    "sailor/Planner/baselines/Metis/metis_planner.py": (
        f"loader = ProfileDataLoader(profile_file, gpu_list=['{GPU}'])\n"
        f"if cluster_config['{GPU}']['num_nodes'] == 20:\n    pass\n"
    ),
}
"""Code in the shape of eth-easl/sailor at cf2c8e3, as far as it is read."""


def counts_of(zone: str, gpu: str, counts: Iterable[int]) -> dict[str, Any]:
    """A multizone file with every pair of counts of one GPU."""
    ends = [f"{zone} {gpu} {count}" for count in counts]
    return zones(*((f"{one} {other}", 1.0) for one in ends for other in ends))


def configured(root: Path, exporter: str, vm: int, *overrides: str) -> GatherConfig:
    return reference_data.inputs(root, exporter, vm, f"exporter.zone={ZONE}", *overrides).config


def lay_out(root: Path, vm: int, of: Iterable[str] = ()) -> Path:
    """Lay out a checkout in which all planners find all, or those named; returns its path."""
    reference_data.lay_out(root)
    checkout = root / "export"
    for path, text in CODE.items():
        there(checkout, Path(path), text)
    there(checkout, COSTS, {ZONE: {ZONE: 0.0}})
    for path in (ALL, MEASURED):
        there(checkout, path, counts_of(ZONE, GPU, (1, 2, 4)))
    there(checkout, INTRA, {GPU: {"2": fit(9.0), "4": fit(9.0)}})
    for name in of or planners():
        write_files(exporter_named(name).files(Inputs(configured(root, name, vm))).files)
    return checkout


def answers(config: GatherConfig) -> dict[str, Answer]:
    """The answer of each planner."""
    return {name: answer(with_exporter(config, name)) for name in planners()}


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the content of a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
