import errno
import shutil

import pytest

from sailor_exp.errors import StorageError
from sailor_exp.slurm import code_copy


def test_a_copy_of_the_code_changes_with_the_code_alone(tmp_path):
    package = tmp_path / "checkout" / "sailor_exp"
    package.mkdir(parents=True)
    (package / "one.py").write_text("1\n")
    first = code_copy.take(tmp_path, package)
    assert code_copy.take(tmp_path, package) == first
    (package / "one.py").write_text("2\n")
    assert code_copy.take(tmp_path, package) != first
    assert (first / "sailor_exp/one.py").read_text() == "1\n"


def test_a_copy_that_a_full_disk_ends_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    package = tmp_path / "checkout" / "sailor_exp"
    package.mkdir(parents=True)
    (package / "one.py").write_text("1\n")
    monkeypatch.setattr(shutil, "copyfile", full_disk)
    with pytest.raises(StorageError, match="No space left on device"):
        code_copy.take(tmp_path, package)
    assert list((tmp_path / "code").iterdir()) == []
