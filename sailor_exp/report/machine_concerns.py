"""Concerns about the machines and the software that measured the cells."""

from collections.abc import Callable, Iterator
from statistics import median

from sailor_exp.exporters.sailor.grid import Reason
from sailor_exp.records.provenance import LoadReadings
from sailor_exp.report.concern import Concern, Weight, cells_of, counted, measure_command, named, were
from sailor_exp.report.content import Content

SLOWED = 0.9
"""Share of its highest clock below which the report names a GPU as slowed under load."""


_THROTTLING = {"hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"}
"""Reasons that name a GPU as slowed whatever its clock: heat, or too little power from outside."""

_IDLE = "gpu_idle"


def _throttled(content: Content) -> Iterator[Concern]:
    """Yield a concern about clocks under load; records that only have clocks of an idle device give none."""
    lines = [
        (key, f"{key}, rank {rank}: {how} ({device.name})")
        for key in content.measured
        for rank, device in enumerate(content.provenance[key].devices)
        if device.load is not None and (how := _slowed(device.load)) is not None
    ]
    if lines:
        cells = list(dict.fromkeys(key for key, _ in lines))
        yield Concern(
            weight=Weight.doubtful,
            title=f"A GPU was clocked below its highest or throttled in {counted(cells)}",
            details=tuple(line for _, line in lines),
            remedy="Training meets a power cap (sw_power_cap), too; heat and other causes are of this machine. "
            "Cool it or lock its clocks, and measure again:",
            command=measure_command(content, cells, "force=true"),
        )


def _slowed(load: LoadReadings) -> str | None:
    """Return how a GPU was slower under load than it can be; None where it was not, or nothing is known."""
    busy = [reading for reading in load.queued if _IDLE not in (reading.reasons or [])]
    clocks = [reading.sm_mhz for reading in busy if reading.sm_mhz is not None]
    reasons = dict.fromkeys(reason for reading in [*busy, load.end] for reason in reading.reasons or [])
    reasons.pop(_IDLE, None)
    low = bool(clocks and load.sm_max_mhz) and median(clocks) < SLOWED * (load.sm_max_mhz or 0)
    if not low and not _THROTTLING & reasons.keys():
        return None
    clock = f"{median(clocks):g} MHz of {load.sm_max_mhz} MHz" if clocks else "clock not known"
    return f"{clock}, {', '.join(reasons) or 'for no reason that the driver gives'}"


def _neighbours(content: Content) -> Iterator[Concern]:
    cells = [key for key in content.measured if _others(content.provenance[key].slurm) > 0]
    if cells:
        yield Concern(
            weight=Weight.doubtful,
            title=f"Other jobs ran on the node of {counted(cells)}: {named(cells)}",
            remedy="Their traffic and heat are in the numbers. Ask for nodes of your own:",
            command=measure_command(content, cells, "hydra/launcher=slurm hydra.launcher.exclusive=true force=true"),
        )


def _others(slurm: dict[str, str]) -> int:
    count = slurm.get("other_jobs_on_node", "0")
    return int(count) if count.isdecimal() else 0


def _mixed(content: Content) -> Iterator[Concern]:
    """Yield a concern for each warning about the grid: its records were not measured alike."""
    for caution in content.grid.cautions:
        weight, remedy, overrides = _OF_MIXTURES[caution.reason]
        yield Concern(
            weight=weight,
            title=caution.text[:1].upper() + caution.text[1:],
            remedy=remedy,
            command=measure_command(content, list(content.grid.outcomes), *overrides),
        )


_OF_MIXTURES: dict[Reason, tuple[Weight, str, tuple[str, ...]]] = {
    Reason.method: (
        Weight.note,
        "They bracketed something else. Measure those cells again:",
        (),
    ),
    Reason.versions: (
        Weight.doubtful,
        "Numbers that will be compared should come from one installation. Measure all of them again with one:",
        ("force=true",),
    ),
    Reason.profile_files: (
        Weight.note,
        "Measure those cells here to have their spread, and where they come from:",
        (),
    ),
}


def _hosts(content: Content) -> Iterator[Concern]:
    hosts: dict[str, int] = {}
    for key in content.measured:
        host = content.provenance[key].host
        hosts[host] = hosts.get(host, 0) + 1
    if len(hosts) > 1:
        yield Concern(
            weight=Weight.note,
            title=f"The cells were measured on {len(hosts)} machines",
            details=(", ".join(f"{host} ({cells_of(count)})" for host, count in sorted(hosts.items())),),
            remedy="Machines of one kind differ by some percent. Where cells are compared with each other, measure "
            "them on one.",
        )


def _dirty(content: Content) -> Iterator[Concern]:
    cells = [key for key in content.measured if content.provenance[key].dirty]
    if cells:
        yield Concern(
            weight=Weight.note,
            title=f"{counted(cells)} {were(cells)} measured with changes that no commit holds: {named(cells)}",
            remedy="Nobody can get that code again. Commit the changes, and measure again:",
            command=measure_command(content, cells, "force=true"),
        )


def _unknown_code(content: Content) -> Iterator[Concern]:
    cells = [key for key in content.measured if content.provenance[key].commit is None]
    if cells:
        yield Concern(
            weight=Weight.note,
            title=f"The commit that {counted(cells)} {were(cells)} measured with is not known",
            remedy="Run launch.py from a checkout to have it recorded; the version of sailor-exp stands under "
            "provenance.",
        )


LOOKS: tuple[Callable[[Content], Iterator[Concern]], ...] = (
    _throttled,
    _neighbours,
    _mixed,
    _hosts,
    _dirty,
    _unknown_code,
)
