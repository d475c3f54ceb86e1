import os
import subprocess
import sys

from sailor_exp.files.whole import remove_unfinished


def test_a_file_that_cannot_be_written_leaves_the_former_one_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("former")
    program = (
        "import resource, sys; from pathlib import Path; from sailor_exp.files.whole import write_whole\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); write_whole(Path({str(path)!r}), b'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"StorageError: cannot write {path}: File too large" in done.stderr
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file.json", "former")]


def test_only_what_was_left_unfinished_long_ago_is_cleared(tmp_path):
    old, new, other = (tmp_path / name for name in (".unfinished-a", ".unfinished-b", "kept.json"))
    for path in (old, new, other):
        path.write_text("")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".unfinished-b", "kept.json"}


def test_what_cannot_be_cleared_stops_nobody(tmp_path):
    immovable = tmp_path / ".unfinished-a"
    immovable.mkdir()
    os.utime(immovable, (0, 0))
    remove_unfinished(tmp_path)
    assert immovable.is_dir()


def test_of_several_files_none_is_replaced_where_one_cannot_be_written(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text("former")
    program = (
        "import resource; from pathlib import Path; from sailor_exp.files.whole import write_all\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_all({{Path({str(first)!r}): b'new', Path({str(second)!r}): b'x' * 5000}})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"StorageError: cannot write {second}: File too large" in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("first.json", "former")]
