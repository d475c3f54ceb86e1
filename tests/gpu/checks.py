"""Every check in the order in which `prove` runs them: what others build on first, then what costs little."""

from dataclasses import dataclass

_LAUNCHES = "what the README promises"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A check, when it holds, and why that is the limit. on_device: whether it runs in a process with the device."""

    name: str
    limit: str
    source: str
    on_device: bool = False


def _command(name: str, limit: str, source: str) -> Asked:
    return Asked(name=name, limit=limit, source=source)


def _inside(name: str, limit: str, source: str) -> Asked:
    return Asked(name=name, limit=limit, source=source, on_device=True)


CHECKS = (
    _inside("device", "none", "what the numbers are of"),
    _inside("events_against_the_wall", "within 1 %", "events are the clock of every time"),
    _inside("cost_of_a_mark", "at most 10 us", "a mark is to cost a part nothing"),
    _inside("nothing_waits_in_a_step", "no wait in fp32", "set_sync_debug_mode('error')"),
    _inside("waits_in_a_bf16_step", "2 waits in bf16", "deepspeed 0.19.8: the norm's -1, and its test"),
    _inside("fp32_rate", "below 80 TFLOP/s", "fp32 peak 67 (H100 SXM), TF32 494"),
    _inside("tf32_rate", "more than twice fp32", "the same datasheet"),
    _inside("operands_of_the_calibration", "none", "power depends on the operands"),
    _inside(
        "marks_against_the_profiler",
        "within 3 % or 10 us for each forward",
        "kernel times of CUPTI; a gap between two kernels is 1 us",
    ),
    _inside("parts_on_a_filled_queue", "none", "a launch-bound part is shorter on a filled queue"),
    _command("forked_ranks", "ok, by a fork", "the fork server asks NVML, and creates no context"),
    _command("grid", "every cell ok", _LAUNCHES),
    _command("linear_in_the_microbatch", "within 10 %", "the products are"),
    _command("below_the_peak", "at most 100 %", "NVIDIA, H100 datasheet, dense"),
    _command("override_of_tf32", "step within 10 %", "fp32 is fp32, whatever the shell sets"),
    _command("calibration_narrows", "none", "dividing by it is to narrow the interval"),
    _command("clocks", "none", "NVML"),
    _command("whole_model", "time 5 %, memory 3 %", "docs/accuracy.md, on a CPU"),
    _command("memory_of_the_cpu", "kept bytes equal, peak 3 %", "the same tensors"),
    _command("configured_memory", "oom, and never above it", "gpu.memory_gb"),
    _command("out_of_memory", "oom with its phase, 100 MiB", "the end of a process frees its memory"),
    _command("planners_profiles", "ok", _LAUNCHES),
    _command("llama", "ok", _LAUNCHES),
    _command("spawned_ranks", "ok", "for libraries that call CUDA when imported"),
    _command("allocators_replay", "none", "reserved bytes"),
)
