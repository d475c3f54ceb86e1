import pytest

from sailor_exp.profiles.layers.measurement import LaunchSamples, Samples, joined_samples
from sailor_exp.profiles.layers.summary import statistics_of
from tests.build.cells import cell
from tests.build.measurements import part, share

ASKED = cell("tp=2", "sampling.warmup=2")


def of_ranks(*parts_of_each) -> Samples:
    """The samples of one rank after another, each with its parts."""
    return joined_samples([share(parts).samples for parts in parts_of_each])


def test_each_step_is_that_of_its_slowest_rank_and_the_warm_up_does_not_count():
    first = [part("head", "head", [9.0, 9.0, 1.0, 4.0])]
    second = [part("head", "head", [9.0, 9.0, 3.0, 2.0])]
    samples = of_ranks(first, second)
    assert samples.parts[0].forward_s == [[9.0, 9.0, 1.0, 4.0], [9.0, 9.0, 3.0, 2.0]]
    found = statistics_of(ASKED, samples)
    assert found.steps == 2
    assert found.kinds["head"].forward.value_s == 3.5
    assert found.kinds["head"].forward.skew_s == 2.0


def test_a_layer_is_timed_where_it_runs_after_a_layer():
    parts = [part("embedding", "embedding", 9.0), part("layer_1", "layer", 1.0), part("layer_2", "layer", 3.0)]
    rank = [*parts, part("head", "head", 9.0)]
    found = statistics_of(ASKED, of_ranks(rank, rank))
    assert list(found.kinds) == ["embedding", "layer", "head"]
    assert found.kinds["layer"].forward.median_s == found.kinds["layer"].update.median_s == 3.0
    assert found.kinds["layer"].backward.median_s == 1.0


def launched(of, seconds):
    """A part whose phases the host launches in as long."""
    times = {phase: [seconds] for phase in LaunchSamples.model_fields}
    return of.model_copy(update={"launch": LaunchSamples(**times)})


@pytest.mark.parametrize(
    ("launches_s", "launch_s", "bound"),
    [
        ([9.0, 9.0, 0.5, 0.5], 0.5, False),
        ([0.1, 0.1, 0.9, 0.9], 0.9, False),
        ([0.1, 0.1, 0.92, 0.92], 0.92, True),
        ([0.1, 0.1, 3.0, 3.0], 3.0, True),
    ],
    ids=["ahead", "just ahead", "about as long", "a filled queue"],
)
def test_a_phase_that_takes_about_its_launch_time_or_less_is_marked(launches_s, launch_s, bound):
    parts = [launched(part("head", "head", [9.0, 9.0, 1.0, 1.0]), launches_s)]
    found = statistics_of(ASKED, of_ranks(parts)).kinds["head"]
    for phase in (found.forward, found.backward, found.update):
        assert (phase.launch_s, phase.launch_bound) == (launch_s, bound)
    assert found.overhead.launch_bound is None


def test_launches_are_those_of_the_rank_and_the_layer_whose_time_it_is():
    def rank(step_s, launch_s):
        parts = [("embedding", "embedding"), ("layer_1", "layer"), ("layer_2", "layer"), ("head", "head")]
        return [
            launched(part(name, kind, [9.0, 9.0, step_s]), [9.0, 9.0, launch_s + number / 100])
            for number, (name, kind) in enumerate(parts)
        ]

    found = statistics_of(ASKED, of_ranks(rank(1.0, 1.0), rank(2.0, 0.5))).kinds["layer"]
    assert found.forward.launch_s == pytest.approx(0.52), "layer_2 of the slower rank"
    assert found.backward.launch_s == pytest.approx(0.51), "layer_1"


def test_where_the_host_does_the_work_no_launch_is_known():
    found = statistics_of(ASKED, of_ranks([part("head", "head", 1.0)]))
    assert (found.kinds["head"].forward.launch_s, found.kinds["head"].forward.launch_bound) == (None, None)


@pytest.mark.parametrize(("kernel_s", "calibrated"), [([1.0, 2.0] * 3, False), ([0.001] * 6, True)])
def test_the_record_says_whether_its_interval_is_calibrated(kernel_s, calibrated):
    steady = of_ranks([part("head", "head", [9.0, 9.0, 1.0, 1.0, 1.0, 1.0])])
    found = statistics_of(ASKED, steady.model_copy(update={"calibration_s": [kernel_s]}))
    assert (found.calibrated, found.relative_half_width) == (calibrated, 0.0)


def test_layers_that_have_no_like_stand_for_themselves():
    parts = [part("embedding", "embedding", 9.0), part("layer", "layer", 1.0), part("head", "head", 9.0)]
    found = statistics_of(ASKED, of_ranks(parts, parts))
    assert found.kinds["layer"].forward.median_s == found.kinds["layer"].backward.median_s == 1.0


def test_the_phases_of_a_step_are_those_of_one_rank_so_that_they_add_up():
    """Each rank waits for the other in the part in which it is not late."""
    first = [part("embedding", "embedding", 1.0), part("head", "head", 5.0)]
    second = [part("embedding", "embedding", 4.0), part("head", "head", 3.0)]
    found = statistics_of(ASKED, of_ranks(first, second))
    assert found.step.value_s == 3 * (4.0 + 3.0)
    assert found.step.value_s == sum(
        getattr(kind, phase).value_s for kind in found.kinds.values() for phase in ("forward", "backward", "update")
    )


def test_the_step_is_the_sum_of_all_phases_of_all_parts():
    rank = [part("embedding", "embedding", 1.0), part("head", "head", 2.0)]
    assert statistics_of(ASKED, of_ranks(rank, rank)).step.value_s == 9.0


def test_ranks_that_did_not_run_the_same_steps_are_an_error():
    ranks = [[part("head", "head", 1.0, steps=steps)] for steps in (5, 6)]
    with pytest.raises(ValueError, match="argument 2"):
        statistics_of(ASKED, of_ranks(*ranks))
