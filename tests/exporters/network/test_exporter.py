import json
import sys
from pathlib import Path

import pytest

from sailor_exp.errors import DamagedFileError, MissingPackageError, MixedRecordsError
from sailor_exp.exporters.exporter import write as write_files
from sailor_exp.exporters.inputs import Inputs
from sailor_exp.exporters.network.fits import read_network
from sailor_exp.exporters.network.plot import as_png, in_text
from sailor_exp.exporters.network.records import read
from sailor_exp.exporters.registry import exporter_named
from sailor_exp.records.files import prepare, write
from sailor_exp.records.record import Outcome
from tests.build.cells import gather_config
from tests.build.commands import gather
from tests.build.link_records import link_record, network_cell, overlap_cell, overlap_record, rate
from tests.build.records import changed, unmeasured

PUBLISHED = {
    "inter": {"A100-40": {"1": [[-0.002, 0.14, 1.1], 2420367713.5]}, "CPU": {"8": [[0, 0, 1], 1e9]}},
    "intra": {"A100-40": {"2": [[0.8, 16.4, 32.9], 248876169884.1]}},
}
NETWORK_FILE = "export/sailor/providers/network_coeffs_all_homo.json"
OVERLAP_FILE = "export/sailor/Planner/baselines/Galvatron/overlap_coe_dicts.json"


def write_records(directory, *records):
    prepare(directory)
    for record in records:
        write(record, directory)


def asked(directory, *overrides):
    return gather_config("exporter=network", f"network_dir={directory}", *overrides)


def merged(tmp_path, *records):
    """Export to the files below the temporary directory."""
    write_records(tmp_path / "network", *records)
    with Inputs(asked(tmp_path / "network", f"export_root={tmp_path}/export")) as inputs:
        write_files(exporter_named("network").files(inputs).files)


def there(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def content(path):
    return json.loads(path.read_text())


def test_only_what_was_measured_of_this_gpu_is_replaced(tmp_path):
    there(tmp_path / NETWORK_FILE, PUBLISHED)
    there(tmp_path / OVERLAP_FILE, {"A100-40": {"4": 1.227}, "CPU": {"8": 1.5}})
    merged(
        tmp_path,
        link_record(network_cell(ranks=4), rate(2.0)),
        link_record(network_cell(ranks=2, nodes=2), rate(3.0, pairs=2)),
        overlap_record(overlap_cell(ranks=4), product=1.1, all_reduce=1.3),
    )
    network = content(tmp_path / NETWORK_FILE)
    assert network["inter"]["A100-40"] == PUBLISHED["inter"]["A100-40"]
    assert network["intra"]["A100-40"] == PUBLISHED["intra"]["A100-40"]
    assert list(network["inter"]["CPU"]) == ["2", "8"]
    assert network["inter"]["CPU"]["8"] == PUBLISHED["inter"]["CPU"]["8"]
    overlap = content(tmp_path / OVERLAP_FILE)
    assert overlap["A100-40"] == {"4": 1.227}
    assert overlap["CPU"] == pytest.approx({"1": 1.0, "4": 1.3, "8": 1.5})
    assert list(overlap["CPU"]) == ["1", "4", "8"]


def test_what_is_written_reads_back_as_the_bandwidth_that_was_measured(tmp_path):
    merged(
        tmp_path,
        link_record(network_cell(ranks=4), rate(2.0)),
        link_record(network_cell(ranks=2, nodes=2), rate(3.0, pairs=2)),
    )
    network = read_network(tmp_path / NETWORK_FILE, "CPU")
    assert network.intra[4].seconds(2**20) == pytest.approx(2**20 / 2e9)
    assert network.inter[2].seconds(2**20) == pytest.approx(2**20 / 3e9), "all pairs together"
    assert content(tmp_path / NETWORK_FILE)["inter"]["CPU"]["2"][1] == pytest.approx(3e9)


def test_the_newest_record_with_numbers_counts(tmp_path):
    cell = network_cell()
    smaller = network_cell("profile.most_bytes=16777216")
    merged(
        tmp_path,
        link_record(cell, rate(1.0), finished_at="2026-01-02T00:00:00+00:00"),
        link_record(smaller, rate(5.0), finished_at="2026-01-03T00:00:00+00:00"),
        unmeasured(network_cell("profile.most_bytes=1048576"), Outcome.failed, finished_at="2026-01-04T00:00:00+00:00"),
    )
    assert read_network(tmp_path / NETWORK_FILE, "CPU").intra[2].seconds(2**20) == pytest.approx(2**20 / 5e9)


def test_records_of_another_gpu_are_not_taken_for_this_ones(tmp_path):
    write_records(tmp_path, link_record(network_cell("gpu=a100-40"), rate(1.0)))
    assert read(asked(tmp_path)).links == ()
    assert [link.count for link in read(asked(tmp_path, "gpu=a100-40")).links] == [2]


@pytest.mark.parametrize("name", [NETWORK_FILE, OVERLAP_FILE])
def test_a_damaged_file_is_named_and_both_stay_as_they_are(tmp_path, name):
    there(tmp_path / NETWORK_FILE, PUBLISHED)
    there(tmp_path / OVERLAP_FILE, {"A100-40": {"4": 1.227}})
    (tmp_path / name).write_text('{"intra": 3, "CPU": 3}')
    before = {path: path.read_bytes() for path in (tmp_path / NETWORK_FILE, tmp_path / OVERLAP_FILE)}
    made = [link_record(network_cell(), rate(1.0)), overlap_record(overlap_cell(), product=1, all_reduce=1)]
    with pytest.raises(DamagedFileError, match=Path(name).name):
        merged(tmp_path, *made)
    assert not (tmp_path / "export/sailor/providers/intra_node_bandwidths.json").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_gathering_shows_the_fits_merges_them_and_draws_them(tmp_path):
    out = tmp_path / "outputs/network/CPU"
    write_records(
        out,
        link_record(network_cell(ranks=2), rate(2.0)),
        overlap_record(overlap_cell(ranks=2), product=0.8, all_reduce=0.9),
    )
    done = gather(tmp_path, "exporter=network")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "intra fit of CPU for 2 ranks (inside)" in done.stdout
    assert "Most off at" in done.stdout
    assert "●" in done.stdout
    assert "overlap of 2 ranks: coefficient 1.000" in done.stdout
    assert "was measured as 0.900, and is written as 1" in done.stderr
    written = [tmp_path / "outputs" / line for line in (NETWORK_FILE, OVERLAP_FILE, "export/plots/network_CPU.png")]
    assert all(f"wrote {path.relative_to(tmp_path)}" in done.stdout for path in written)
    assert written[2].read_bytes().startswith(b"\x89PNG")


def test_a_cell_without_a_number_is_named_and_the_others_are_merged(tmp_path):
    out = tmp_path / "outputs/network/CPU"
    write_records(out, link_record(network_cell(ranks=2), rate(2.0)), unmeasured(network_cell(ranks=4), Outcome.oom))
    done = gather(tmp_path, "exporter=network")
    assert done.returncode == 1
    assert "network on CPU: profile=network ranks=4 nodes=1 has no number, oom: ended as oom" in done.stderr
    assert list(content(tmp_path / "outputs" / NETWORK_FILE)["intra"]["CPU"]) == ["2"]
    assert "does not read" not in done.stderr, "both files are its own, whatever was measured"


def test_the_fits_are_shown_also_where_a_file_cannot_be_written(tmp_path):
    write_records(tmp_path / "outputs/network/CPU", link_record(network_cell(ranks=2), rate(2.0)))
    (tmp_path / "outputs/export").mkdir(parents=True)
    (tmp_path / "outputs/export/plots").write_text("a file where a directory must be")
    done = gather(tmp_path, "exporter=network")
    assert done.returncode == 1
    assert "intra fit of CPU for 2 ranks" in done.stdout
    assert "cannot write outputs/export/plots" in done.stderr


def test_an_empty_network_directory_names_the_commands(tmp_path):
    done = gather(tmp_path, "gpu=a100-40", "exporter=network")
    assert done.returncode == 1
    assert "outputs/network/A100-40 holds no numbers" in done.stderr
    assert "`python launch.py -m profile=network gpu=a100-40 vm=4 ranks=2,4`" in done.stderr
    assert "`python launch.py -m profile=overlap gpu=a100-40 vm=4 ranks=2,4`" in done.stderr
    assert not (tmp_path / "outputs/export").exists()


def test_a_fit_that_planners_ask_beyond_what_was_measured_is_warned_of(tmp_path):
    long = [2**power for power in range(16, 29)]
    write_records(
        tmp_path,
        link_record(network_cell(ranks=2), rate(1.0)),
        link_record(network_cell(ranks=4), rate(1.0), sizes=long),
    )
    (warning,) = read(asked(tmp_path)).warnings
    assert warning.startswith(
        "the intra fit of CPU for 2 ranks was measured up to 16.0 MiB, and what it gives beyond is a"
    )
    assert "up to 256 MiB (profile.most_bytes)" in warning


def test_too_few_sizes_are_told_with_what_to_do(tmp_path):
    write_records(tmp_path, link_record(network_cell(), rate(1.0), sizes=[2**16, 2**17]))
    found = read(asked(tmp_path))
    assert found.links == ()
    assert found.lacking[0].startswith("the intra fit of CPU for 2 ranks has 2 sizes; a fit needs 3.")


def test_what_was_measured_and_cannot_be_used_is_told_where_there_is_nothing_else(tmp_path):
    out = tmp_path / "outputs/network/CPU"
    write_records(out, link_record(network_cell(), rate(1.0), sizes=[2**16, 2**17]))
    done = gather(tmp_path, "exporter=network")
    assert done.returncode == 1
    assert "has 2 sizes; a fit needs 3." in done.stderr
    assert "nothing was written" in done.stderr
    assert not (tmp_path / "outputs/export").exists()


def test_a_plot_without_matplotlib_names_the_extra(tmp_path, monkeypatch):
    write_records(tmp_path, link_record(network_cell(), rate(1.0)))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'sailor-exp\[plot\]'"):
        as_png("CPU", read(asked(tmp_path)).links)


def test_the_plot_in_the_terminal_has_every_size_on_its_axes(tmp_path):
    write_records(tmp_path, link_record(network_cell(), lambda size: 1e-4 + size / 2e9))
    (link,) = read(asked(tmp_path)).links
    lines = in_text(link).splitlines()
    assert len({len(line) for line in lines[1:-2]}) == 1
    assert sum(line.count("o") + line.count("●") for line in lines[1:-2]) == len(link.fitted.points)
    assert lines[-1].split() == ["64.0", "KiB", "16.0", "MiB"]


@pytest.mark.parametrize(
    ("overrides", "key"),
    [(("gpu.device=cuda", "gpu.backend=nccl"), "gpu.device"), (("gpu.backend=nccl",), "gpu.backend")],
)
def test_records_of_the_same_gpu_name_and_another_device_or_backend_are_refused(tmp_path, overrides, key):
    write_records(
        tmp_path, link_record(network_cell(ranks=4), rate(1.0)), link_record(network_cell(*overrides), rate(1.0))
    )
    with pytest.raises(MixedRecordsError, match=rf"measured with {key}=.*; asked for is {key}=.*, which network_"):
        read(asked(tmp_path))


@pytest.mark.parametrize("profile", ["network", "overlap"])
def test_records_of_an_older_method_are_not_taken_without_a_word(tmp_path, profile):
    make = {
        "network": lambda ranks: link_record(network_cell(ranks=ranks), rate(1.0)),
        "overlap": lambda ranks: overlap_record(overlap_cell(ranks=ranks), product=1.5, all_reduce=1.5),
    }[profile]
    older = changed(make(2), method=1)
    write_records(tmp_path / "alone", older)
    assert any(
        "were measured by method 1; method 2 measures now" in text for text in read(asked(tmp_path / "alone")).warnings
    )
    write_records(tmp_path / "both", older, make(4))
    both = read(asked(tmp_path / "both"))
    counts = [link.count for link in both.links] if profile == "network" else list(both.slowdowns)
    assert counts == [4]
    assert any("1 records of an older method of measuring were left out" in text for text in both.warnings)
