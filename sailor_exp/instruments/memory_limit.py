"""The limit of the memory of a rank on a CPU: a bound on its private data, so that allocations really fail."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")


def limit_data(budget_bytes: int) -> None:
    """Let this process allocate `budget_bytes` beyond what it holds now; further allocations fail.

    Only the soft limit is set, so that `without_limit` can lift it.
    """
    _set(held_bytes() + budget_bytes)


def limited() -> bool:
    """Whether this process has such a limit."""
    return resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY


@contextmanager
def without_limit() -> Iterator[None]:
    """Lift the limit for an instrument that allocates; memory that it does not release is added to the budget."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if not limited():
        yield
        return
    before = held_bytes()
    _set(resource.RLIM_INFINITY)
    try:
        yield
    finally:
        _set(limit + max(0, held_bytes() - before))


def held_bytes() -> int:
    """Return the private memory of this process that RLIMIT_DATA counts: VmData of proc_pid_status(5)."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no VmData")


def _set(limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
