"""Bandwidth files in the shape of eth-easl/sailor at cf2c8e3."""

from pathlib import Path

import pytest

from sailor_exp.command_line import gather_faults_of
from sailor_exp.errors import DamagedFileError, UnknownZoneError
from tests.build.cells import gather_config
from tests.build.link_records import overlap_cell, overlap_record
from tests.build.network_exports import (
    ALL,
    INTRA,
    MEASURED,
    OVERLAP,
    content,
    contents_below,
    exported,
    fit,
    inter,
    intra,
    lines,
    rates,
    relative,
    there,
    zones,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_without_files_the_users_cluster_is_the_one_zone(tmp_path: Path) -> None:
    export = exported(tmp_path, intra(2, 9.0), intra(4, 8.0), inter(1, 1.0), inter(2, 2.0))
    assert rates(content(tmp_path, INTRA)) == {"CPU": {"2": 9.0, "4": 8.0}}
    assert rates(content(tmp_path, MEASURED)) == {
        "own-cluster": {
            "CPU": {
                "1": {"own-cluster": {"CPU": {"1": 1.0}}},
                "2": {"own-cluster": {"CPU": {"2": 2.0}}},
            }
        }
    }
    assert rates(content(tmp_path, ALL)) == {
        "own-cluster": {
            "CPU": {
                "1": {"own-cluster": {"CPU": {"1": 1.0, "2": 1.0}}},
                "2": {"own-cluster": {"CPU": {"1": 1.0, "2": 2.0}}},
            }
        }
    }
    assert lines(export)[-1] == (
        "multizone_bandwidths_het.json, CPU: 2 pairs derived by the published rule, not measured: "
        "CPU in own-cluster to CPU in own-cluster"
    )


def test_machines_of_one_gpu_get_the_file_of_links_inside_without_any(tmp_path: Path) -> None:
    """The simulator opens it (runtime_simulator.py, `Simulator`), and looks nothing up."""
    exported(tmp_path, inter(1, 1.0))
    assert content(tmp_path, INTRA) == {"CPU": {}}
    there(tmp_path / "export", INTRA, {"A100-40": {"2": fit(200.0)}})
    assert INTRA not in relative(exported(tmp_path))


def test_the_fits_are_those_of_the_network_file(tmp_path: Path) -> None:
    exported(tmp_path, intra(2, 9.0), inter(2, 2.0))
    network = content(tmp_path, Path("sailor/providers/network_coeffs_all_homo.json"))
    between = network["inter"]["CPU"]["2"]
    assert content(tmp_path, INTRA)["CPU"] == network["intra"]["CPU"]
    for path in (MEASURED, ALL):
        assert content(tmp_path, path)["own-cluster"]["CPU"]["2"]["own-cluster"]["CPU"]["2"] == between


def test_all_that_is_there_stays_and_the_measured_counts_are_replaced(tmp_path: Path) -> None:
    root = tmp_path / "export"
    others = ("a A100-40 1 a A100-40 1", 5.0), ("b A100-40 1 a A100-40 1", 4.0), ("a CPU 4 a CPU 4", 40.0)
    there(root, INTRA, {"A100-40": {"2": fit(200.0)}, "CPU": {"8": fit(80.0), "2": fit(20.0)}})
    for path in (MEASURED, ALL):
        there(root, path, zones(*others, ("a CPU 2 a CPU 2", 20.0)))
    exported(tmp_path, intra(2, 9.0), inter(2, 2.0), overrides=("exporter.zone=a",))
    assert rates(content(tmp_path, INTRA)) == {"A100-40": {"2": 200.0}, "CPU": {"2": 9.0, "8": 80.0}}
    assert rates(content(tmp_path, MEASURED)) == rates(zones(*others, ("a CPU 2 a CPU 2", 2.0)))
    assert list(content(tmp_path, MEASURED)["a"]["CPU"]) == ["2", "4"]


def test_another_gpu_gets_the_fit_with_the_smaller_maximum_of_the_two_own_ones(tmp_path: Path) -> None:
    root = tmp_path / "export"
    there(root, MEASURED, zones(("a A100-40 1 a A100-40 1", 1.5), ("a A100-40 4 a A100-40 4", 6.0)))
    there(root, ALL, {})
    exported(tmp_path, inter(1, 1.0), inter(2, 2.0), overrides=("exporter.zone=a",))
    found = rates(content(tmp_path, ALL))["a"]
    assert {gpus: found["CPU"][gpus]["a"]["A100-40"] for gpus in ("1", "2")} == {
        "1": {"1": 1.0, "4": 1.0},
        "2": {"1": 1.5, "4": 2.0},
    }
    assert {gpus: found["A100-40"][gpus]["a"]["CPU"] for gpus in ("1", "4")} == {
        "1": {"1": 1.0, "2": 1.5},
        "4": {"1": 1.0, "2": 2.0},
    }
    assert "A100-40" not in found["A100-40"]["1"]["a"], "pairs of other GPUs are not this export's"


def test_where_the_maxima_are_equal_the_receivers_fit_is_taken_as_in_the_published_script(tmp_path: Path) -> None:
    tied = zones(("a A100-40 1 a A100-40 1", 1.0), ("a CPU 1 a CPU 1", 1.0), ("a CPU 2 a CPU 2", 1.0))
    tied["a"]["A100-40"]["1"]["a"]["A100-40"]["1"][0] = [0.0, 0.5, 0.25]
    there(tmp_path / "export", MEASURED, tied)
    exported(tmp_path, inter(4, 1.0), overrides=("exporter.zone=a",))
    found = content(tmp_path, ALL)["a"]
    assert found["CPU"]["1"]["a"]["A100-40"]["1"][0] == [0.0, 0.5, 0.25]
    assert found["A100-40"]["1"]["a"]["CPU"]["1"][0] == [0.0, 0.0, 1.0]


def test_a_pair_of_two_gpus_that_was_measured_is_as_measured(tmp_path: Path) -> None:
    own, between = ("a A100-40 1 a A100-40 1", 5.0), ("a CPU 1 a A100-40 1", 0.3)
    there(tmp_path / "export", MEASURED, zones(own, between))
    exported(tmp_path, inter(1, 1.0), overrides=("exporter.zone=a",))
    found = rates(content(tmp_path, ALL))["a"]
    assert found["CPU"]["1"]["a"]["A100-40"] == {"1": 0.3}
    assert found["A100-40"]["1"]["a"]["CPU"] == {"1": 1.0}


def test_another_zone_comes_from_the_fits_between_the_two_zones(tmp_path: Path) -> None:
    across = ("a CPU 1 b CPU 1", 0.1), ("b CPU 1 a CPU 1", 0.2), ("b CPU 1 b CPU 1", 3.0)
    there(tmp_path / "export", MEASURED, zones(*across))
    exported(tmp_path, inter(1, 1.0), inter(2, 2.0), overrides=("exporter.zone=a",))
    found = rates(content(tmp_path, ALL))
    assert found["a"]["CPU"]["2"]["b"]["CPU"] == {"1": 0.1}
    assert found["b"]["CPU"]["1"]["a"]["CPU"] == {"1": 0.2, "2": 0.2}


def test_derived_fits_never_replace_what_is_there_and_differing_ones_are_named(tmp_path: Path) -> None:
    there(tmp_path / "export", ALL, zones(("a CPU 1 a CPU 2", 7.0), ("a CPU 1 a CPU 1", 7.0)))
    export = exported(tmp_path, inter(1, 1.0), inter(2, 2.0), overrides=("exporter.zone=a",))
    assert rates(content(tmp_path, ALL))["a"]["CPU"] == {
        "1": {"a": {"CPU": {"1": 1.0, "2": 7.0}}},
        "2": {"a": {"CPU": {"1": 1.0, "2": 2.0}}},
    }
    assert (
        "multizone_bandwidths_het.json, CPU: 1 pairs kept, though the published rule gives another fit: "
        "CPU in a to CPU in a" in lines(export)
    )


def test_holes_are_named(tmp_path: Path) -> None:
    others = zones(("a A100-40 1 a A100-40 1", 5.0), ("b A100-40 1 b A100-40 1", 5.0))
    for path in (MEASURED, ALL):
        there(tmp_path / "export", path, others)
    export = exported(tmp_path, inter(1, 1.0), overrides=("exporter.zone=a",))
    assert lines(export)[-2:] == [
        (
            "multizone_bandwidths_het.json, CPU: 2 pairs that are holes, since no fit for them follows: "
            "CPU in a to A100-40 in b; A100-40 in b to CPU in a"
        ),
        "multizone_bandwidths_het.json: holes, since the simulator takes every zone to have every GPU: no CPU in b",
    ]


def test_a_second_export_changes_nothing(tmp_path: Path) -> None:
    there(tmp_path / "export", MEASURED, zones(("a A100-40 1 a A100-40 1", 5.0), ("b A100-40 1 b A100-40 1", 5.0)))
    exported(tmp_path, intra(2, 9.0), inter(1, 1.0), inter(2, 2.0), overrides=("exporter.zone=a",))
    first = contents_below(tmp_path / "export")
    exported(tmp_path, overrides=("exporter.zone=a",))
    assert contents_below(tmp_path / "export") == first


def test_files_of_which_nothing_was_measured_and_files_left_out_are_not_written(tmp_path: Path) -> None:
    left_out = ("exporter.multizone_file=null", "exporter.intra_node_file=null")
    assert not {INTRA, MEASURED} & relative(
        exported(tmp_path / "out", intra(2, 9.0), inter(1, 1.0), overrides=left_out)
    )
    assert not {MEASURED, ALL} & relative(exported(tmp_path / "intra", intra(2, 9.0)))
    overlap = overlap_record(overlap_cell(), product=1.5, all_reduce=1.5)
    assert relative(exported(tmp_path / "overlap", overlap)) == {OVERLAP}


def test_without_the_measured_pairs_the_rule_reads_the_file_that_it_fills(tmp_path: Path) -> None:
    exported(tmp_path, inter(1, 1.0), inter(2, 2.0), overrides=("exporter.multizone_file=null",))
    assert rates(content(tmp_path, ALL))["own-cluster"]["CPU"]["2"]["own-cluster"]["CPU"] == {"1": 1.0, "2": 2.0}


@pytest.mark.parametrize("path", [MEASURED, ALL])
def test_a_zone_that_a_file_lacks_is_refused_unless_it_is_said_to_be_new(tmp_path: Path, path: Path) -> None:
    there(tmp_path / "export", path, zones(("a CPU 1 a CPU 1", 5.0), ("b CPU 1 b CPU 1", 5.0)))
    before = contents_below(tmp_path / "export")
    with pytest.raises(UnknownZoneError, match=rf"{path.name} has no zone own-cluster; it has a, b; nothing was"):
        exported(tmp_path, intra(2, 9.0), inter(1, 1.0))
    assert contents_below(tmp_path / "export") == before
    exported(tmp_path, overrides=("exporter.new_zone=true",))
    assert list(content(tmp_path, path)) == ["a", "b", "own-cluster"]
    exported(tmp_path)


SHAPES = [
    (INTRA, {"a": {"CPU": {"1": fit(1.0)}}}, "a has the key 'CPU', where a whole number is expected"),
    (INTRA, {"CPU": {"2": [[1, 2], 3]}}, "CPU.2.0 has no 2"),
    (MEASURED, {"inter": {"CPU": {"1": fit(1.0)}}}, "inter.CPU.1 is a list, where an object is expected"),
    (MEASURED, {"a": 3}, "a is the number 3, where an object is expected"),
    (ALL, {"CPU": {"2": fit(1.0)}}, "CPU.2 is a list, where an object is expected"),
    (ALL, {"a": {"CPU": {"1": {"a": {"CPU": {"1": [[0, 0, "x"], 1]}}}}}}, "a.CPU.1.a.CPU.1.0.2 is the text 'x'"),
]


@pytest.mark.parametrize(("path", "shape", "fault"), SHAPES, ids=lambda value: getattr(value, "stem", ""))
def test_a_bandwidth_file_of_another_shape_is_refused(tmp_path: Path, path: Path, shape: object, fault: str) -> None:
    there(tmp_path / "export", path, shape)
    before = contents_below(tmp_path / "export")
    with pytest.raises(DamagedFileError) as raised:
        exported(tmp_path, intra(2, 9.0), inter(1, 1.0), overrides=("exporter.zone=a",))
    assert path.name in str(raised.value)
    assert fault in str(raised.value)
    assert contents_below(tmp_path / "export") == before


def test_an_empty_zone_is_a_fault_of_the_command() -> None:
    faults = gather_faults_of(gather_config("exporter=network", "exporter.zone=''"))
    assert faults == ["exporter.zone is empty: it must be the name of a zone"]
