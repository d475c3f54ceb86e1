from sailor_exp.config.schema import GatherConfig
from sailor_exp.exporters.plausible.rating import Verdict
from sailor_exp.exporters.plausible.suspicions import Suspicion, suspicions_of
from sailor_exp.profiles.layers.published import CellKey, LayerTimes, PhaseTimes
from tests.build.cells import gather_config

EMBEDDING = PhaseTimes(20e-6, 200e-6, 1.5e-3)
LAYER = PhaseTimes(4e-3, 8e-3, 0.4e-3)
HEAD = PhaseTimes(12e-3, 24e-3, 1.5e-3)
"""Times of OPT-350 at tp 1, mbs 1 that an A100 can reach in fp32."""


def opt(*overrides: str, gpu: str = "a100-40") -> GatherConfig:
    return gather_config("model=opt-350", f"gpu={gpu}", *overrides)


def times(embedding: PhaseTimes = EMBEDDING, layer: PhaseTimes = LAYER, head: PhaseTimes = HEAD) -> LayerTimes:
    return {0: embedding, **dict.fromkeys(range(1, 25), layer), 25: head}


def told(config: GatherConfig, **changes: PhaseTimes) -> list[Suspicion]:
    return suspicions_of(config, {CellKey(1, 1): times(**changes)})


def test_a_cell_that_its_gpu_can_measure_has_no_suspicion() -> None:
    assert told(opt()) == []


def test_a_head_faster_than_fp32_is_named_with_the_rate_of_tf32() -> None:
    (suspicion,) = told(opt(), head=PhaseTimes(4.508e-3, 3.989e-3, 1.5e-3))
    assert suspicion.verdict is Verdict.above
    assert suspicion.title == "Times of 1 cell are shorter than A100-40 can take in fp32"
    assert suspicion.details == (
        "head forward: 46.8 TFLOP/s, where the data sheet has 19.5, and 156 with TF32 (tp=1 mbs=1)",
        "head backward: 106 TFLOP/s, where the data sheet has 19.5, and 156 with TF32 (tp=1 mbs=1)",
    )
    assert suspicion.text.splitlines()[1] == "  " + suspicion.details[0]


def test_tf32_explains_no_rate_above_its_own_and_none_of_a_gpu_without_it() -> None:
    (suspicion,) = told(opt(), head=PhaseTimes(1e-3, 24e-3, 1.5e-3))
    assert suspicion.details == ("head forward: 211 TFLOP/s, where the data sheet has 19.5 (tp=1 mbs=1)",)
    (suspicion, _) = told(opt(gpu="v100-16"), layer=PhaseTimes(4e-3, 10e-3, 5e-3))
    assert suspicion.details[0] == "layer forward: 17.2 TFLOP/s, where the data sheet has 15.7 (tp=1 mbs=1)"


def test_the_precision_that_was_asked_for_counts() -> None:
    tensor_cores = PhaseTimes(1e-3, 2e-3, 1.5e-3)
    verdicts = {
        precision: {suspicion.verdict for suspicion in told(opt(f"precision={precision}"), head=tensor_cores)}
        for precision in ("fp32", "bf16")
    }
    assert verdicts == {"fp32": {Verdict.above}, "bf16": {Verdict.slow}}, "the layer is one of fp32"


def test_an_embedding_whose_gradient_nobody_wrote_is_named() -> None:
    (suspicion,) = told(opt(), embedding=PhaseTimes(20e-6, 3e-6, 1.5e-3))
    assert suspicion.details == ("embedding backward: 74.3 TB/s, where the memory has 1.555 (tp=1 mbs=1)",)


def test_a_part_that_waits_is_named_apart() -> None:
    above, slow = told(opt(), embedding=PhaseTimes(1e-3, 3e-6, 1.5e-3), layer=PhaseTimes(4e-3, 8e-3, 3e-3))
    assert (above.verdict, slow.verdict) == (Verdict.above, Verdict.slow)
    assert slow.title == "Times of 1 cell are more than 10 times what arithmetic and memory of A100-40 need"
    assert slow.details == (
        "embedding forward: 185 times (tp=1 mbs=1)",
        "layer update: 13.2 times (tp=1 mbs=1)",
    )


def test_the_times_of_many_cells_are_one_line_for_each_part() -> None:
    fast = PhaseTimes(1e-3, 24e-3, 1.5e-3)
    cells = {CellKey(1, mbs): times(head=fast) for mbs in (1, 2, 4, 8)}
    above = next(one for one in suspicions_of(opt(), cells) if one.verdict is Verdict.above)
    lines = [line for line in above.details if line.startswith("head forward")]
    where = "(tp=1 mbs=1, tp=1 mbs=2, tp=1 mbs=4 and 1 more)"
    assert lines == [f"head forward: 211 to 1688 TFLOP/s, where the data sheet has 19.5 {where}"]
    assert set(above.cells) == set(cells)


def test_a_kind_without_a_peak_and_a_degree_that_does_not_divide_are_not_judged() -> None:
    fast = times(head=PhaseTimes(1e-9, 1e-9, 1e-9))
    assert suspicions_of(opt(gpu="cpu"), {CellKey(1, 1): fast}) == []
    assert suspicions_of(opt("gpu.name=A30-24"), {CellKey(1, 1): fast}) == []
    assert suspicions_of(opt(), {CellKey(3, 1): fast}) == []
    assert suspicions_of(opt(), {CellKey(1, 1): fast}) != []
