"""Every profile on the emulated device: what a rank does there, and how a cell ends."""

import gc
from collections import Counter
from itertools import pairwise

import pytest

from sailor_exp.config.schema import Device
from sailor_exp.profiles.overlap import rank as overlap_rank
from sailor_exp.records.record import Outcome
from sailor_exp.sweep.rank_process import Voice
from sailor_exp.training.chain import Chain
from sailor_exp.training.whole_model import WholeModel
from sailor_exp.units import GIB, MIB
from tests.emulated_cuda.cells import memory_on_the_cpu, records
from tests.emulated_cuda.gpu import Gpu

SMALL = (
    "model.num_layers=2",
    "model.hidden_size=64",
    "model.ffn_hidden_size=128",
    "model.seq_length=16",
    "model.max_position_embeddings=16",
    "model.vocab_size=1024",
)
OF_A_MODEL = ("layers", "check", "varuna", "galvatron", "oobleck")


@pytest.fixture(autouse=True)
def _small_products(monkeypatch):
    monkeypatch.setitem(overlap_rank._SHAPES, Device.cuda, (32, 64))


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
@pytest.mark.parametrize("profile", OF_A_MODEL)
def test_a_model_is_measured_at_every_tensor_parallel_degree(tmp_path, profile, tp):
    [record] = records(tmp_path, *SMALL, f"profile={profile}", f"tp={tp}")
    assert record.outcome is Outcome.ok, record.ending
    assert len(record.provenance.devices) == tp
    assert {device.name for device in record.provenance.devices} == {Gpu.name}


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("profile", ["network", "overlap"])
def test_a_link_is_measured_between_any_number_of_ranks(tmp_path, profile, ranks):
    sizes = ("profile.least_bytes=65536", "profile.most_bytes=131072") if profile == "network" else ()
    [record] = records(tmp_path, f"profile={profile}", f"ranks={ranks}", *sizes)
    assert record.outcome is Outcome.ok, record.ending


@pytest.mark.parametrize(
    "model",
    [
        ("model=llama-3-8", "model.num_query_groups=4", "attention=sdpa"),
        ("model=gpt-neo-2.7", "model.window_size=4"),
        ("model=opt-350", "optimizer=sgd"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_architecture_is_measured_in_every_precision(tmp_path, model, precision):
    small = ("model.hidden_size=64", "model.num_attention_heads=4", *SMALL[2:])
    [record] = records(tmp_path, *model, *small, "tp=2", f"precision={precision}")
    assert record.outcome is Outcome.ok, record.ending


WAITS_IN_A_STEP = {
    "fp32": Counter(),
    # DeepSpeed's norm of the gradients: a -1 that comes from the host, and whether the norm is finite.
    # Source: deepspeed 0.19.8, runtime/utils.py, mask_nan_or_inf_with_val_inplace and is_invalid_grad_norm.
    "bf16": Counter({"copy from the host": 1, "item": 1}),
}


@pytest.mark.parametrize("tp", [1, 8])
@pytest.mark.parametrize("precision", WAITS_IN_A_STEP)
def test_no_more_waits_inside_a_step_than_deepspeed_makes(tmp_path, monkeypatch, precision, tp):
    gpu, inside = Gpu(), {}
    for model in (Chain, WholeModel):
        monkeypatch.setattr(model, "step", counted(model.step, gpu, inside.setdefault(model, [])))
    [record] = records(tmp_path, *SMALL, "profile=check", f"tp={tp}", f"precision={precision}", gpu=gpu)
    assert record.outcome is Outcome.ok, record.ending
    for model, waits in inside.items():
        assert len(waits) >= 4, model
        assert all(found == WAITS_IN_A_STEP[precision] for found in waits), (model, waits)


def counted(step, gpu, waits):
    def counting(*arguments, **keywords):
        before = Counter(gpu.waits)
        result = step(*arguments, **keywords)
        waits.append(gpu.waits - before)
        return result

    return counting


def test_from_step_to_step_the_ranks_wait_once_for_the_device_and_agree_twice(tmp_path, monkeypatch):
    """On whether there are enough steps, and on how much is queued before the next."""
    gpu, starts, step = Gpu(), [], Chain.step

    def noting(*arguments, **keywords):
        starts.append(Counter(gpu.waits))
        return step(*arguments, **keywords)

    monkeypatch.setattr(Chain, "step", noting)
    records(tmp_path, *SMALL, "tp=2", gpu=gpu)
    assert len(starts) >= 4
    for before, after in pairwise(starts):
        assert after - before == Counter({"synchronize": 1, "tolist": 2, "copy from the host": 2})


def test_the_allocators_figures_move_and_agree_with_those_of_the_cpu(tmp_path):
    [record] = records(tmp_path, *SMALL, "tp=1")
    memory, on_cpu = record.measurement.memory, memory_on_the_cpu(*SMALL)
    assert memory.kinds.keys() == on_cpu.kinds.keys()
    for kind, part in memory.kinds.items():
        assert part.act_mem_bytes == on_cpu.kinds[kind].act_mem_bytes
        assert part.peak_backward_bytes == pytest.approx(
            on_cpu.kinds[kind].peak_backward_bytes, rel=0.05, abs=0.05 * MIB
        )
    assert memory.peak_bytes == pytest.approx(on_cpu.peak_bytes, rel=0.05)
    assert memory.peak_bytes < memory.reserved_bytes < memory.device_used_bytes


def test_nothing_of_a_rank_stays_on_the_device(tmp_path):
    gpu = Gpu()
    for profile in OF_A_MODEL:
        records(tmp_path, *SMALL, f"profile={profile}", "tp=2", gpu=gpu)
        gc.collect()
        assert gpu.allocator.allocated == 0, profile


@pytest.mark.parametrize(
    ("profile", "phase"),
    [
        ("layers", "forward head"),
        ("layers", "backward layer_1"),
        ("layers", "watching memory"),
        ("check", "full model"),
        ("galvatron", "backward"),
    ],
)
def test_out_of_memory_in_a_phase_ends_the_cell_as_oom_and_names_the_phase(tmp_path, monkeypatch, profile, phase):
    gpu, entering = Gpu(), Voice.entering

    def entering_and_full(voice, entered):
        entering(voice, entered)
        if entered == phase:
            gpu.allocator.fraction = gpu.allocator.allocated / gpu.allocator.total_bytes

    monkeypatch.setattr(Voice, "entering", entering_and_full)
    [record] = records(tmp_path, *SMALL, f"profile={profile}", "tp=1", gpu=gpu)
    assert record.outcome is Outcome.oom, record.ending
    assert record.ending.phase == phase
    assert "OutOfMemoryError: CUDA out of memory. Tried to allocate" in record.ending.message


def test_the_configured_memory_is_the_limit_and_larger_microbatches_are_skipped(tmp_path):
    [first] = records(tmp_path / "unlimited", *SMALL, "tp=1")
    memory_gb = (first.measurement.memory.reserved_bytes + 4 * MIB) / GIB
    found = records(tmp_path, *SMALL, "tp=1", f"gpu.memory_gb={memory_gb}", mbs=(1, 256, 512))
    assert [record.outcome for record in found] == [Outcome.ok, Outcome.oom, Outcome.skipped]


def test_an_error_of_the_device_ends_the_cell_as_failed(tmp_path, monkeypatch):
    def lost(chain, *arguments):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(Chain, "step", lost)
    [record] = records(tmp_path, *SMALL, "tp=2")
    assert record.outcome is Outcome.failed
    assert record.ending.message == "RuntimeError: CUDA error: an illegal memory access was encountered"


def test_a_rank_of_a_process_that_has_called_cuda_measures_nothing(tmp_path):
    with pytest.warns(UserWarning, match="a library called CUDA when it was imported"):
        [record] = records(tmp_path, *SMALL, "tp=1", gpu=Gpu(process=1))
    assert record.outcome is Outcome.failed
    assert record.measurement is None
