"""Checks that run launch.py as a user does, and read its records. Only the standard library is imported here."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.gpu.finding import CannotRunError, Finding, judged, shown
from tests.gpu.size import Size

ROOT = Path(__file__).resolve().parent.parent.parent
_LEAST_S = 20
"""With less time left no command is started."""

_KNOWN_PEAK_TFLOPS = {"fp32": 67, "tf32": 494, "bf16": 989}
"""Of H100 and H200 SXM, without sparsity: the rows of config/peaks.py, which needs more than the standard library."""

_PRINT_FREE = "import torch; torch.cuda.init(); print(torch.cuda.mem_get_info()[0])"


@dataclass
class Commands:
    """Runs commands for the checks, and keeps the records of the grid. `deadline`: of time.monotonic."""

    kind: str
    size: Size
    directory: Path
    deadline: float
    environment: Mapping[str, str]
    grid: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def place(self) -> Path:
        """A new directory for a command."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.directory))

    def launch(self, *arguments: str, kind: str | None = None, sampling: bool = True) -> list[dict[str, Any]]:
        """The records of a command, by rising microbatch. Raises CannotRunError without time or records."""
        place = self.place()
        asked = [f"gpu={kind or self.kind}", *(self.size.sampling if sampling else ()), *arguments]
        done = self.run([str(ROOT / "launch.py"), "-m", *asked], place)
        found = [json.loads(path.read_text()) for path in place.glob("outputs/**/records/*.json")]
        if not found:
            raise CannotRunError(f"no record: {_last_line(done.stdout + done.stderr)}")
        return sorted(found, key=_place)

    def measured(self, *arguments: str, **keywords: Any) -> list[dict[str, Any]]:
        """Records, all with numbers. Raises CannotRunError with the ending of the first that has none."""
        found = self.launch(*arguments, **keywords)
        for record in found:
            if record["outcome"] != "ok":
                raise CannotRunError(f"{record['outcome']}: {(record['ending'] or {}).get('message')}")
        return found

    def run(self, arguments: Sequence[str], place: Path) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments until its end or the deadline."""
        left_s = self.deadline - time.monotonic()
        if left_s < _LEAST_S:
            raise CannotRunError("no time is left")
        command = [sys.executable, *arguments]
        try:
            return subprocess.run(
                command, cwd=place, env=dict(self.environment), capture_output=True, text=True, check=False,
                timeout=left_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CannotRunError(f"cut off after {left_s:.0f} s") from error


def forked_ranks(commands: Commands) -> Finding:
    began = time.monotonic()
    place = commands.place()
    done = commands.run([str(ROOT / "launch.py"), "-m", f"gpu={commands.kind}", "tp=1", "mbs=1"], place)
    afresh = "started afresh" in done.stdout + done.stderr
    said = f", {_last_line(done.stdout + done.stderr)}" if done.returncode else ", started afresh" if afresh else ""
    return judged(
        f"exit status {done.returncode}, {time.monotonic() - began:.1f} s{said}",
        holds=done.returncode == 0 and not afresh,
    )


def spawned_ranks(commands: Commands) -> Finding:
    began = time.monotonic()
    place = commands.place()
    done = commands.run(["-m", "tests.gpu.spawned", commands.kind, str(place)], ROOT)
    said = _last_line(done.stderr if done.returncode else done.stdout)
    return judged(f"{said}, {time.monotonic() - began:.1f} s", holds=done.returncode == 0 and said.startswith("ok"))


def override_of_tf32(commands: Commands) -> Finding:
    """The rate of fp32 products where the shell sets NVIDIA_TF32_OVERRIDE=1."""
    overridden = replace(commands, environment={**commands.environment, "NVIDIA_TF32_OVERRIDE": "1"})
    records = overridden.measured(*commands.size.opt, "tp=1", "mbs=1")
    plain = _grid(commands, "fp32")[0]
    ratio = _step_s(records[0]) / _step_s(plain)
    return judged(f"step {ratio:.2f} times that without it", holds=abs(ratio - 1) <= 0.1)


def grid(commands: Commands) -> Finding:
    """Measures the grid that other checks read; a precision that cannot be measured leaves the others theirs."""
    told = {precision: _measured_in(precision, commands) for precision in _KNOWN_PEAK_TFLOPS}
    cells = len(commands.size.microbatches)
    whole = all(len(commands.grid.get(precision, ())) == cells for precision in told)
    return judged("; ".join(f"{precision} {text}" for precision, text in told.items()), holds=whole)


def _measured_in(precision: str, commands: Commands) -> str:
    microbatches = _list("mbs", commands.size.microbatches)
    try:
        found = commands.launch(*commands.size.opt, "tp=1", microbatches, f"precision={precision}")
    except CannotRunError as error:
        return str(error)
    commands.grid[precision] = [record for record in found if record["outcome"] == "ok"]
    return ", ".join(
        f"{_step_s(record) * 1e3:.2f} ms" if record["outcome"] == "ok" else record["outcome"] for record in found
    )


def linear_in_the_microbatch(commands: Commands) -> Finding:
    """The largest distance of a layer's forward and backward from the line through the last two microbatches."""
    worst = {}
    for precision in commands.grid:
        points = [(_mbs(record), _layer_s(record)) for record in _grid(commands, precision)]
        if len(points) < 3:
            raise CannotRunError("a line through two points says nothing: the grid has fewer than three")
        (one, first_s), (two, second_s) = points[-2:]
        slope = (second_s - first_s) / (two - one)
        worst[precision] = max(abs(first_s + slope * (mbs - one) - layer_s) / layer_s for mbs, layer_s in points)
    if not worst:
        raise CannotRunError("the grid has no records")
    return judged(_shares(worst), holds=max(worst.values()) <= 0.1)


def below_the_peak(commands: Commands) -> Finding:
    """The products of layer and head alone: 2 FLOP a parameter of a matrix and token forward, 4 backward."""
    highest = {
        precision: max(_tflops(record) for record in _grid(commands, precision)) / peak
        for precision, peak in _KNOWN_PEAK_TFLOPS.items()
        if precision in commands.grid
    }
    if not highest:
        raise CannotRunError("the grid has no records")
    return judged(f"share of the peak: {_shares(highest)}", holds=max(highest.values()) <= 1)


def calibration_narrows(commands: Commands) -> Finding:
    """Half-widths of steps divided by the calibration, and of steps as they are."""
    from sailor_exp.stats import calibrated, relative_half_width

    told = []
    for record in (record for precision in commands.grid for record in _grid(commands, precision)):
        steps_s, calibration_s = _steps_s(record)
        plain, divided = relative_half_width(steps_s), relative_half_width(calibrated(steps_s, calibration_s))
        told.append(f"{record['identity']['precision']} mbs {_mbs(record)} {_percent(plain)} to {_percent(divided)}")
    if not told:
        raise CannotRunError("the grid has no records")
    return shown("; ".join(told))


def clocks(commands: Commands) -> Finding:
    """The clocks of the idle device and those under load."""
    facts = _grid(commands, "fp32")[-1]["provenance"]["devices"][0]
    load = facts.get("load")
    if load is None:
        raise CannotRunError(f"the record has no clocks under load; idle {facts['clock_mhz']}")
    busy = [reading["sm_mhz"] for reading in load["queued"]]
    return shown(f"idle {facts['clock_mhz']}, highest {load['sm_max_mhz']}, queued {busy}, end {load['end']}")


def configured_memory(commands: Commands) -> Finding:
    size = commands.size
    found = commands.launch(*size.opt, "tp=1", _list("mbs", size.limited), f"gpu.memory_gb={size.limited_gb}")
    outcomes = [record["outcome"] for record in found]
    held = [record["measurement"]["memory"]["reserved_bytes"] for record in found if record["outcome"] == "ok"]
    kept = bool(held) and max(held) <= size.limited_gb * 2**30
    return judged(f"{', '.join(outcomes)}; reserved {_gib(max(held, default=0))}", holds=kept and "oom" in outcomes)


def out_of_memory(commands: Commands) -> Finding:
    before = int(commands.run(["-c", _PRINT_FREE], ROOT).stdout or 0)
    size = commands.size
    held = () if size.growing_gb is None else (f"gpu.memory_gb={size.growing_gb}",)
    found = commands.launch(*size.opt, "tp=1", _list("mbs", size.growing), *held)
    after = int(commands.run(["-c", _PRINT_FREE], ROOT).stdout or 0)
    outcomes = [record["outcome"] for record in found]
    lost_mib = (before - after) / 2**20
    phase = (found[-1]["ending"] or {}).get("phase")
    return judged(
        f"{', '.join(outcomes)} in {phase}; {lost_mib:.0f} MiB not free again",
        holds=outcomes[-1] == "oom" and phase is not None and abs(lost_mib) <= 100,
    )


def memory_of_the_cpu(commands: Commands) -> Finding:
    """The same small model on both: what is kept for the backward, and the peak of a step."""
    small = ("model.seq_length=256", "model.max_position_embeddings=256", "model.hidden_size=512", "tp=1", "mbs=2")
    [here] = commands.measured(*small)
    [cpu] = commands.measured(*small, kind="cpu")
    kinds, on_cpu = (record["measurement"]["memory"]["kinds"] for record in (here, cpu))
    different = [kind for kind in kinds if kinds[kind]["act_mem_bytes"] != on_cpu[kind]["act_mem_bytes"]]
    peak = here["measurement"]["memory"]["peak_bytes"] / cpu["measurement"]["memory"]["peak_bytes"] - 1
    kept = f"kept bytes differ in {', '.join(different)}" if different else "kept bytes equal"
    return judged(f"{kept}; peak {peak:+.1%}", holds=not different and abs(peak) <= 0.03)


def whole_model(commands: Commands) -> Finding:
    """The error of the predicted step and of the predicted peak against training steps of eight layers."""
    arguments = (*commands.size.opt, "model.num_layers=8", "tp=1", "mbs=1", "num_microbatches=1,2,4")
    found = commands.measured("profile=check", *arguments)
    time_errors, memory_errors = {}, {}
    for record in found:
        [prediction] = [one for one in record["measurement"]["predictions"] if one["source"] != "earlier"][:1]
        name = f"{record['identity']['num_microbatches']} microbatches"
        time_errors[name] = prediction["errors"]["total"]["value"]
        memory_errors[name] = prediction["peak_error"]
    within = all(abs(error) <= 0.05 for error in time_errors.values())
    fits = all(abs(error) <= 0.03 for error in memory_errors.values())
    return judged(f"time {_shares(time_errors)}; memory {_shares(memory_errors)}", holds=within and fits)


def planners_profiles(commands: Commands) -> Finding:
    told = {}
    for profile in ("varuna", "oobleck", "galvatron"):
        [record] = commands.launch(*commands.size.opt, f"profile={profile}", "tp=1", *_microbatch(profile))
        told[profile] = record["outcome"]
    return judged(", ".join(f"{name} {outcome}" for name, outcome in told.items()), holds=set(told.values()) == {"ok"})


def llama(commands: Commands) -> Finding:
    [record] = commands.launch(*commands.size.llama, "precision=bf16", "attention=sdpa", "tp=1", "mbs=1")
    if record["outcome"] != "ok":
        return judged(f"{record['outcome']}: {record['ending']}", holds=False)
    memory = record["measurement"]["memory"]
    return judged(f"step {_step_s(record) * 1e3:.1f} ms, peak {_gib(memory['peak_bytes'])}", holds=True)


def allocators_replay(commands: Commands) -> Finding:
    raise CannotRunError("the package has no replay of CUDA's allocator to compare the reserved bytes with")


def _grid(commands: Commands, precision: str) -> list[dict[str, Any]]:
    found = commands.grid.get(precision)
    if not found:
        raise CannotRunError(f"the grid has no records of {precision}")
    return found


def _place(record: Mapping[str, Any]) -> tuple[int, int]:
    return record["identity"].get("num_microbatches") or 1, record["identity"].get("mbs") or 1


def _mbs(record: Mapping[str, Any]) -> int:
    return record["identity"]["mbs"]


def _step_s(record: Mapping[str, Any]) -> float:
    return record["measurement"]["statistics"]["step"]["value_s"]


def _steps_s(record: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Seconds of each step that counts on the first rank, and of the calibration before it."""
    samples = record["measurement"]["samples"]
    times = ("forward_s", "backward_s", "update_s", "overhead_s")
    steps = zip(*(part[name][0] for part in samples["parts"] for name in times), strict=True)
    return [sum(step) for step in steps][samples["warmup"] :], samples["calibration_s"][0][samples["warmup"] :]


def _layer_s(record: Mapping[str, Any]) -> float:
    layer = record["measurement"]["statistics"]["kinds"]["layer"]
    return layer["forward"]["value_s"] + layer["backward"]["value_s"]


def _tflops(record: Mapping[str, Any]) -> float:
    """The highest rate of layer and head, forward and backward."""
    identity, statistics = record["identity"], record["measurement"]["statistics"]["kinds"]
    memory = record["measurement"]["memory"]["kinds"]
    tokens = identity["mbs"] * identity["model"]["seq_length"]
    return max(
        factor * memory[kind]["params_floats"] * tokens / statistics[kind][phase]["value_s"] / 1e12
        for kind in ("layer", "head")
        for phase, factor in (("forward", 2), ("backward", 4))
    )


def _microbatch(profile: str) -> tuple[str, ...]:
    return () if profile == "oobleck" else ("mbs=1",)


def _list(key: str, values: Sequence[int]) -> str:
    return f"{key}={','.join(map(str, values))}"


def _shares(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1%}" for name, value in values.items())


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.2%}"


def _gib(number: float) -> str:
    return f"{number / 2**30:.2f} GiB"


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no output"


CHECKS: tuple[Callable[[Commands], Finding], ...] = (
    forked_ranks, grid, linear_in_the_microbatch, below_the_peak, override_of_tf32, calibration_narrows, clocks,
    whole_model, memory_of_the_cpu, configured_memory, out_of_memory, planners_profiles, llama, spawned_ranks,
    allocators_replay,
)  # fmt: skip


def environment_of(site: Path | None) -> dict[str, str]:
    """Variables of every process: this checkout first, then what was unpacked, then what was there."""
    search = [str(ROOT), *([str(site)] if site else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search)}


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What a process prints, line by line, until it ends."""
    assert process.stdout is not None
    yield from process.stdout
