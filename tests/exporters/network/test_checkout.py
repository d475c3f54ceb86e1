"""Lines for the constants of a checkout, in the shape of eth-easl/sailor at cf2c8e3."""

import ast
from pathlib import Path

import pytest

from sailor_exp.errors import NotACheckoutError, SailorExpError
from sailor_exp.exporters.network.checkout import CONSTANTS, lines_to_add
from tests.build.network_exports import contents_below, exported, inter, intra, lines, there

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PUBLISHED_CONSTANTS = """\
COST_2_AZ = 0.01
GPU_PRICES = {
    'A100-40': {'us-central1-a': 3.67},
}
GPU_MEMORY_GB = {
    'A100-40': 40,
}
"""


def test_constants_that_a_checkout_lacks_are_printed_as_lines_that_python_takes(tmp_path: Path) -> None:
    there(tmp_path / "export", CONSTANTS, PUBLISHED_CONSTANTS)
    export = exported(tmp_path, inter(1, 1.0), overrides=("gpu.memory_gb=0.5",))
    place = tmp_path / "export" / CONSTANTS
    sentence = f"Sailor's planners end in KeyError without these lines. Add them at the end of {place}, "
    assert lines(export)[-3:] == [
        f"{sentence}with your price in place of DOLLARS_PER_HOUR:",
        "GPU_MEMORY_GB['CPU'] = 0.5",
        "GPU_PRICES['CPU'] = {'own-cluster': DOLLARS_PER_HOUR}",
    ]
    assert place.read_text() == PUBLISHED_CONSTANTS
    pasted = "\n".join([PUBLISHED_CONSTANTS, *lines(export)[-2:]])
    with pytest.raises(NameError, match="DOLLARS_PER_HOUR"):
        exec(compile(ast.parse(pasted), "constants.py", "exec"), {})  # noqa: S102
    place.write_text(pasted.replace("DOLLARS_PER_HOUR", "1.5"))
    assert not [line for line in lines(exported(tmp_path)) if "GPU_" in line or "constants" in line]


def test_a_zone_without_a_price_is_printed_alone(tmp_path: Path) -> None:
    there(tmp_path, CONSTANTS, PUBLISHED_CONSTANTS)
    assert lines_to_add(tmp_path, gpu="A100-40", memory_gb=40.0, zone="us-central1-a") == []
    assert lines_to_add(tmp_path, gpu="A100-40", memory_gb=40.0, zone="own-cluster") == [
        "GPU_PRICES['A100-40']['own-cluster'] = DOLLARS_PER_HOUR"
    ]
    there(tmp_path, CONSTANTS, PUBLISHED_CONSTANTS + "GPU_PRICES['A100-40']['own-cluster'] = 2.0\n")
    assert lines_to_add(tmp_path, gpu="A100-40", memory_gb=40.0, zone="own-cluster") == []


def test_a_root_that_is_no_checkout_gets_no_lines(tmp_path: Path) -> None:
    assert lines_to_add(tmp_path, gpu="CPU", memory_gb=1.0, zone="own-cluster") == []


NOT_ONE = {
    "above": ("sailor" / CONSTANTS, PUBLISHED_CONSTANTS, "is the directory above a checkout"),
    "inside": (CONSTANTS.relative_to("sailor"), PUBLISHED_CONSTANTS, "is the package inside a checkout"),
    "not Python": (CONSTANTS, "GPU_PRICES = {", "cannot be read as Python"),
    "without constants": (CONSTANTS, "GPU_PRICES = {}\nGPU_MEMORY_GB = None\n", "has no dictionary GPU_MEMORY_GB"),
}


@pytest.mark.parametrize("case", NOT_ONE)
def test_a_checkout_that_is_not_one_is_refused_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    path, text, fault = NOT_ONE[case]
    there(tmp_path / "export", path, text)
    before = contents_below(tmp_path / "export")
    with pytest.raises(NotACheckoutError, match=fault) as raised:
        exported(tmp_path, intra(2, 9.0), inter(1, 1.0))
    assert isinstance(raised.value, SailorExpError)
    assert "nothing was written" in str(raised.value)
    assert contents_below(tmp_path / "export") == before


def test_a_repository_of_ones_own_may_hold_the_files(tmp_path: Path) -> None:
    there(tmp_path / "export", Path(".git/HEAD"), "ref: refs/heads/main")
    assert exported(tmp_path, intra(2, 9.0), inter(1, 1.0)).files
