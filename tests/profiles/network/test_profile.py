from sailor_exp.profiles.faults import faults, one_machine_faults
from sailor_exp.profiles.network.measurement import LeftOut
from sailor_exp.profiles.network.profile import PROFILE
from sailor_exp.records import files as record_files
from sailor_exp.sweep.reuse import former
from tests.build.cells import cell
from tests.build.link_records import link_record, network_cell, rate
from tests.build.records import changed


def test_a_link_is_known_as_well_as_its_worst_known_size():
    measured = link_record(network_cell(), rate(1.0)).measured
    assert PROFILE.relative_half_width(measured) == 0
    collective = measured.series[1]
    unsteady = collective.sizes[0].model_copy(update={"seconds": [[1.0, 1.0, *range(1, 9)]] * 2})
    worse = collective.model_copy(update={"sizes": [unsteady, *collective.sizes[1:]]})
    series_of = [measured.series[0], worse, *measured.series[2:]]
    assert PROFILE.relative_half_width(measured.model_copy(update={"series": series_of})) > 0.3


def test_a_link_with_a_size_left_out_is_good_enough_for_its_own_budget_alone(tmp_path):
    made = link_record(network_cell(), rate(1.0))
    left_out = [LeftOut(size_bytes=1, expected_s=9, budget_s=5)]
    lacking = changed(made, series=[made.measured.series[0].model_copy(update={"left_out": left_out})])
    given = {"max_steps": 100, "budget_s": 5.0, "target": 0.03}
    provenance = made.provenance.model_copy(update={"sampling": given})
    record_files.write(lacking.model_copy(update={"provenance": provenance}), tmp_path)
    within, beyond = (
        network_cell(f"profile_dir={tmp_path}", f"sampling.budget_s={budget_s}", "sampling.max_steps=100")
        for budget_s in (5, 60)
    )
    assert former(within) is not None
    assert former(beyond) is None


def test_a_group_that_cannot_be_is_a_fault_before_anything_starts():
    assert faults(network_cell(ranks=2)) == []
    assert faults(network_cell(ranks=1, nodes=2)) == []
    assert "nobody to send to" in faults(network_cell(ranks=1))[0]
    assert "give 1 or 2" in faults(network_cell(ranks=2, nodes=3))[0]
    assert faults(network_cell(ranks=8)) == ["ranks=8 need 8 GPUs in one machine; vm=4 has 4. Choose a larger vm."]
    assert faults(network_cell("tp=2")) == ["tp=2: profile=network has no use for it; leave it out"]
    assert faults(cell("profile.most_bytes=4")) == [
        "profile.most_bytes=4: profile=layers has no use for it; leave it out"
    ]
    assert "no power of two" in faults(network_cell("profile.least_bytes=600", "profile.most_bytes=1000"))[0]
    assert "must be at least 8" in faults(network_cell("profile.least_bytes=4"))[0]


def test_two_machines_of_gpus_are_not_one():
    assert one_machine_faults([network_cell(nodes=2)]) == []
    (fault,) = one_machine_faults([network_cell("gpu=a100-40", nodes=2)])
    assert "needs 2 machines, and this is one. Measure with hydra/launcher=slurm." in fault
