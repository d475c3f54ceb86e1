"""Copies the code for jobs at submission, so that an edit of the checkout does not change queued jobs."""

import hashlib
import shutil
import tempfile
from pathlib import Path

import sailor_exp
from sailor_exp.errors import StorageError

_PACKAGE = Path(sailor_exp.__file__).resolve().parent


def take(submission_dir: Path, package: Path = _PACKAGE) -> Path:
    """Copy the package as it is now, and return the directory of the copy; equal content is copied once.

    Raises StorageError.
    """
    sources = sorted(path for path in package.rglob("*.py"))
    content = hashlib.sha256()
    for path in sources:
        source = path.read_bytes()
        content.update(f"{path.relative_to(package)}\0{len(source)}\0".encode() + source)
    directory = submission_dir / "code" / content.hexdigest()[:16]
    if not directory.exists():
        _copy(package, sources, directory)
    return directory


def _copy(package: Path, sources: list[Path], directory: Path) -> None:
    """Copy to a temporary directory beside the final one, then rename it: a copy is whole or missing."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=directory.parent))
        try:
            for path in sources:
                copy = unfinished / package.name / path.relative_to(package)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            unfinished.chmod(0o755)
            unfinished.rename(directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise StorageError(directory, error) from error
