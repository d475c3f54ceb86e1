"""Writes files whole or not at all: to a temporary file in the same directory, flushed, then renamed to its place."""

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from sailor_exp.errors import StorageError

_PREFIX = ".unfinished-"
_STALE_S = 3600.0


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file at `path`; a kill or a full disk during the write leaves the former file.

    Raises StorageError.
    """
    write_all({path: content})


def write_all(files: Mapping[Path, bytes]) -> None:
    """Replace several files, and none before the contents of all are on disk, so a full disk leaves the former files.

    A kill between two renames can leave some new and some former files, each of them whole. Raises StorageError.
    """
    with contextlib.ExitStack() as temporaries:
        written = {path: _written_beside(path, content, temporaries) for path, content in files.items()}
        for path, temporary in written.items():
            try:
                temporary.replace(path)
                _flush_directory(path.parent)
            except OSError as error:
                raise StorageError(path, error) from error


def _written_beside(path: Path, content: bytes, temporaries: contextlib.ExitStack) -> Path:
    """Return a flushed temporary file beside `path`, which `temporaries` removes if it was not renamed."""
    make_directory(path.parent)
    try:
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=path.parent)
        temporary = Path(name)
        temporaries.callback(temporary.unlink, missing_ok=True)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
    except OSError as error:
        raise StorageError(path, error) from error
    return temporary


def make_directory(path: Path) -> None:
    """Make a directory and its parents, unless they exist. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(path, error) from error


def remove_unfinished(directory: Path) -> None:
    """Remove the temporary files of writers that were killed an hour ago or earlier, as far as the system allows it."""
    for path in directory.glob(f"{_PREFIX}*"):
        # Its writer may have just renamed it, or it may be another user's; neither keeps a new file from being written.
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
