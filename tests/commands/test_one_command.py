"""`launch.py -m exporter=...`: what it measures, exports and refuses, from the command line to the last table."""

import json
from pathlib import Path

import pytest

from sailor_exp import launching
from sailor_exp.command_line import GATHER, checked
from sailor_exp.errors import ConfigurationError
from sailor_exp.exporters.needed_cells import plan, with_one_exporter
from sailor_exp.exporters.registry import planners
from sailor_exp.records.record import Outcome
from sailor_exp.sweep.sweep import Result
from tests.build.cells import _composed
from tests.build.records import unmeasured

QUICK = ("sampling.min_steps=2", "sampling.max_steps=2", "sampling.warmup=2", "profile.most_bytes=524288")
PLANNERS = ["amp", "galvatron", "metis", "oobleck", "piper", "varuna"]


def planned(*job_overrides: str):
    """The plan of a sweep whose jobs have these overrides, each as one text."""
    return plan([job.split() for job in job_overrides], lambda overrides: _composed("launch", tuple(overrides)))


def cells(made, name: str) -> list[str]:
    """The cells that an export needs: the profile and its keys."""
    (export,) = [one for one in made.exports if one.gather.exporter.name == name]
    return [named(made.jobs[place]) for place in sorted(export.jobs)]


def named(job) -> str:
    place = next(number for number, override in enumerate(job) if override.startswith("profile="))
    return " ".join(job[place:]).removeprefix("profile=")


def faults_of(*arguments: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        checked(arguments)
    return list(caught.value.faults)


def test_without_an_exporter_nothing_is_planned():
    assert planned("tp=1 mbs=1", "tp=2 mbs=1") is None


LINKS = ["network nodes=2 ranks=1", "network nodes=2 ranks=2", "network ranks=2"]


def grid(*tps: int, mbs: tuple[int, ...]) -> list[str]:
    return [f"layers tp={tp} mbs={one}" for tp in tps for one in mbs]


@pytest.mark.parametrize(
    ("exporter", "needs"),
    [
        ("sailor", grid(1, mbs=(1, 2))),
        ("csv", grid(1, mbs=(2,))),
        ("network", [*LINKS, "overlap ranks=2"]),
        ("metis", [*grid(1, mbs=(1, 2)), *LINKS]),
        ("piper", [*grid(1, mbs=(1, 2)), *LINKS]),
        ("amp", [*grid(1, 2, mbs=(1, 2)), *LINKS]),
        ("oobleck", [*grid(1, 2, mbs=(1, 2)), "oobleck tp=1", *LINKS]),
        ("varuna", [*grid(1, 2, mbs=(1, 2)), "varuna tp=2 mbs=1", "varuna tp=2 mbs=2", *LINKS]),
        (
            "galvatron",
            [
                *grid(1, 2, mbs=(1, 2, 4, 8)),
                *("galvatron pp=1 tp=1", "galvatron pp=1 tp=2", "galvatron pp=2 tp=1"),
                *("overlap ranks=2", *LINKS),
            ],
        ),
    ],
)
def test_an_exporter_has_the_cells_measured_that_it_needs(exporter, needs):
    needed = cells(planned(f"vm='2' exporter={exporter} tp=1 mbs=2"), exporter)
    assert sorted(needed) == sorted(needs)


def test_what_one_exporter_adds_to_the_grid_the_others_need_with_it():
    made = planned("vm='2' exporter=varuna tp=1 mbs=2", "vm='2' exporter=galvatron tp=1 mbs=2")
    assert [one for one in cells(made, "varuna") if one.startswith("varuna")] == [
        f"varuna tp=2 mbs={mbs}" for mbs in (1, 2, 4, 8)
    ]


def test_two_vms_measure_one_whole_grid():
    made = planned("vm='2' exporter=varuna tp=1 mbs=1", "vm='4' exporter=varuna tp=1 mbs=1")
    layers = {named(job) for job in made.jobs if "profile=layers" in job}
    assert layers == {*grid(1, 2, 4, mbs=(1, 2, 4))}


def test_the_simulator_takes_the_microbatches_for_the_degrees():
    needed = cells(planned("vm='4' exporter=piper tp=4 mbs=1"), "piper")
    assert needed[:4] == grid(1, 4, mbs=(1, 4))


def test_metis_looks_up_every_power_of_two():
    needed = set(cells(planned("vm='2' exporter=metis tp=2 mbs=4"), "metis"))
    assert needed > {f"layers tp={tp} mbs={mbs}" for tp in (1, 2) for mbs in (1, 2, 4)}


def test_a_degree_over_which_the_architecture_cannot_be_split_is_not_measured_for_amp():
    odd = "model.hidden_size=66 model.num_attention_heads=3"
    assert "layers tp=2 mbs=1" not in cells(planned(f"vm='2' exporter=amp tp=1 {odd}"), "amp")


def test_what_two_exporters_need_is_measured_once_and_layers_before_links():
    made = planned("vm='2' exporter=varuna tp=1 mbs=1", "vm='2' exporter=oobleck tp=1 mbs=1")
    jobs = [named(job) for job in made.jobs]
    assert len(set(jobs)) == len(jobs)
    assert jobs[:4] == grid(1, 2, mbs=(1, 2))
    assert jobs[-3:] == LINKS


def test_what_planners_read_is_exported_before_their_files():
    made = planned("exporter=piper", "exporter=csv", "exporter=sailor")
    assert [one.gather.exporter.name for one in made.exports] == ["sailor", "network", "piper", "csv"]
    assert [one.gather.exporter.name for one in planned("exporter=csv").exports] == ["csv"]
    assert [one.gather.exporter.name for one in planned("exporter=plausible").exports] == ["sailor", "plausible"]


def test_hydra_composes_the_sweep_for_one_exporter_and_the_plan_knows_all():
    names, arguments = with_one_exporter(["-m", "exporter='piper',csv", "tp=1,2"])
    assert (names, arguments) == (("piper", "csv"), ["-m", "exporter=piper", "tp=1,2"])
    made = plan([arguments[1:2]], lambda overrides: _composed("launch", tuple(overrides)), names)
    assert [one.gather.exporter.name for one in made.exports] == ["sailor", "network", "piper", "csv"]
    assert with_one_exporter(["-m", "exporter=piper"]) == ((), ["-m", "exporter=piper"])


def test_links_have_a_directory_of_their_own_and_their_own_keys():
    made = planned("vm='2' exporter=piper tp=1 profile_dir=out network_dir=links profile.most_bytes=131072")
    for job in made.jobs:
        link = "profile=network" in job
        assert ("profile.most_bytes=131072" in job) == link
        assert ("profile_dir=out" in job) != link
        assert _composed("launch", job).profile_dir == ("links" if link else "out")
    assert {one.gather.network_dir for one in made.exports} == {"links"}


def test_the_keys_of_an_exporter_reach_it():
    made = planned("exporter=galvatron exporter.max_nodes=7 export_root=there report=true")
    (galvatron,) = [one.gather for one in made.exports if one.gather.exporter.name == "galvatron"]
    assert (galvatron.exporter.max_nodes, galvatron.export_root, galvatron.report) == (7, "there", True)
    assert galvatron.exporter.network_file == "there/sailor/providers/network_coeffs_all_homo.json"


@pytest.mark.parametrize("command", ["launch", "gather"])
def test_all_stands_for_every_planner(command):
    arguments = ("-m", "exporter=all", "vm=2")
    resolved = checked(arguments) if command == "launch" else checked(arguments, GATHER)
    assert resolved[1] == f"exporter={','.join(PLANNERS)}"
    assert planners() == PLANNERS


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (
            ("-m", "exporter=varuna", "profile=network"),
            "profile=network: an exporter measures the profiles that it needs",
        ),
        (("exporter=varuna",), "exporter=varuna: measures more than one cell: add -m"),
        (("-m", "export_root=there"), "export_root=there: nothing is exported: add exporter=..., or leave it out"),
        (("-m", "exporter.zone=here"), "exporter.zone=here: nothing is exported: add exporter=..., or leave it out"),
        (("-m", "exporter=vulcan"), "exporter=vulcan: there is no exporter vulcan. Choose from "),
        (("-m", "exporter=galvatron", "vm=1"), "exporter=galvatron needs pp=2, 2 GPUs in one machine; vm=1 has 1. "),
        (("-m", "exporter=piper", "vm=2", "tp=4"), "tp=4 needs 4 GPUs in one machine; vm=2 has 2. "),
        (("-m", "exporter=piper", "exporter.zone="), "exporter.zone is empty: it must be the name of a zone"),
        (("-m", "exporter=piper", "exporter.max_nodes=1"), "exporter.max_nodes=1 must be at least 2"),
        (("-m", "exporter=piper", "model.num_layers=0"), "model.num_layers=0 must be at least 1"),
        (("-m", "exporter=[piper,amp]"), "exporter=[piper,amp]: brackets would mix the choices"),
        (("-m", "exporter=piper", "nodes=2"), "nodes=2: profile=layers has no use for it"),
    ],
)
def test_a_wrong_command_gets_one_message(arguments, fault):
    (only,) = faults_of(*arguments)
    assert only.startswith(fault)


def test_the_messages_of_the_links_are_no_fault_of_the_layers():
    assert checked(("-m", "exporter=piper", "profile.most_bytes=131072"))


def test_links_between_two_machines_are_left_out_and_named_on_one_machine_with_gpus(monkeypatch):
    """What one machine can measure is measured, and the rest is what the exports lack."""
    passed, told = [], {}

    def measured_here(cells):
        passed.extend(cells)
        return [Result(cell=one, record=unmeasured(one, Outcome.skipped), reused=True) for one in cells]

    def exported(made, why, page):
        told.update({named(made.jobs[place]): text for place, text in why.items()})
        return False

    monkeypatch.setattr(launching, "_measure", measured_here)
    monkeypatch.setattr("sailor_exp.exporting.export", exported)
    sweeps = launching.Sweeps()
    jobs = sweeps.planned(
        [["gpu=h100-80", "vm='2'", "exporter=piper", "tp=1", "mbs=1"]],
        lambda overrides: _composed("launch", tuple(overrides)),
    )
    with pytest.raises(SystemExit) as ended:
        sweeps.run([_composed("launch", tuple(job)) for job in jobs])
    assert ended.value.code == 1
    assert {(one.profile.name, one.nodes) for one in passed} == {("layers", 1), ("network", 1)}
    assert told.keys() == {"network nodes=2 ranks=1", "network nodes=2 ranks=2"}
    assert all("needs 2 machines, and this is one. Measure with hydra/launcher=slurm." in why for why in told.values())


@pytest.mark.sweep
def test_one_command_makes_the_files_and_the_same_again_measures_nothing(launch, tmp_path):
    command = ("-m", "exporter=piper,galvatron,csv", "vm=2", "tp=1", "mbs=1", *QUICK)
    status, output = launch(*command)
    assert status == 0, output
    assert "exports, below outputs/export/" in output
    assert output.count("│ nothing ") == 5
    baselines = tmp_path / "outputs/export/sailor/Planner/baselines"
    assert json.loads((baselines / "Piper/profiles/gpt-tiny/CPU/profile.json").read_text()).keys() == {
        "1",
        "2",
        "4",
        "8",
    }
    galvatron = json.loads((baselines / "Galvatron/profiles/gpt-tiny/CPU/memory_profile.json").read_text())
    assert {"1_1_1", "1_2_1", "2_1_1"} < galvatron.keys()
    records = _state(tmp_path, "records")
    status, output = launch(*command)
    assert status == 0, output
    assert output.count("(was there") == len(records) == 15
    assert _state(tmp_path, "records") == records


@pytest.mark.sweep
def test_a_planner_whose_needs_failed_does_not_stop_the_others(launch, tmp_path):
    status, output = launch(
        "-m", "exporter=piper,oobleck", "vm=1", "tp=1", "mbs=1", "profile.most_bytes=65536", *QUICK[:3]
    )
    assert status == 1, output
    assert "oobleck of gpt-tiny on CPU vm=1" in output
    assert "a fit needs" in output
    baselines = tmp_path / "outputs/export/sailor/Planner/baselines"
    assert (baselines / "Piper/profiles/gpt-tiny/CPU/profile.json").is_file()
    assert not (baselines / "Oobleck").exists()


def _state(directory: Path, below: str) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in directory.rglob("*.json") if path.parent.name == below}
