"""Lets one writer at a time replace files.

flock(2) belongs to the open file, so the kernel releases it when its holder dies: no lock outlives a process that was
killed. The lock file itself stays, empty: if it were removed, two writers could lock two files of one name.

On NFS, Linux turns flock into a byte-range lock that the server keeps (since 2.6.12), so it holds between machines,
except on a file system that is mounted with `local_lock=flock` or `nolock`. A file system without flock is refused.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sailor_exp.errors import LockError, StorageError

_LOOK_EVERY_S = 0.02


@contextmanager
def locked(path: Path, timeout_s: float = 60.0) -> Iterator[None]:
    """Hold the lock of the file at `path`, which is created if it is missing.

    Raises LockError where another process holds it for `timeout_s` seconds or the file system has no such locks, and
    StorageError where the file cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(path, error) from error
    try:
        _wait_for(descriptor, path, timeout_s)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not _taken(descriptor, path):
        if time.monotonic() > deadline:
            raise LockError(path, f"another process has held it for {timeout_s:g} s")
        time.sleep(_LOOK_EVERY_S)


def _taken(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise LockError(path, f"its file system has no locks ({error.strerror})") from error
    return True
