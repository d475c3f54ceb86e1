"""How long gathering takes: python tests/bench/bench_gather.py [records ...].

Each size is a directory of records and profile files as a sweep leaves them, of one rank and 24 steps a cell. Every
command is a process of its own, three times; the fastest counts.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sailor_exp.profiles.layers import profile_file
from sailor_exp.records import files as record_files
from tests.build.records import cell, changed, measured

ROOT = Path(__file__).resolve().parent.parent.parent
SIZES = (100, 1_000, 10_000)
STEPS = 24


def write_records(directory: Path, count: int) -> None:
    """Records of (tp 1, mbs n): tp is 1 so that a record holds one rank's samples."""
    written = measured(cell(), steps=STEPS)
    for number in range(count):
        one = changed(written, mbs=number + 1)
        record_files.write(one, directory)
        profile_file.write(one, directory)


def fastest_s(directory: Path, *arguments: str) -> float:
    """Seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, str(ROOT / "gather.py"), *arguments]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - start)
        if done.returncode:
            sys.exit(done.stderr)
    return min(times)


def main() -> None:
    """Print a line for each size, and for what does not depend on it."""
    sizes = [int(argument) for argument in sys.argv[1:]] or list(SIZES)
    with tempfile.TemporaryDirectory() as directory:
        print(f"gather.py --help                {fastest_s(Path(directory), '--help'):7.2f} s")
    for count in sizes:
        with tempfile.TemporaryDirectory() as directory:
            write_records(Path(directory) / "outputs/gpt-tiny/CPU", count)
            seconds = fastest_s(Path(directory))
            print(f"gather {count:6d} records           {seconds:7.2f} s  {1e3 * seconds / count:6.2f} ms a record")
            table_s = fastest_s(Path(directory), "exporter=csv")
            print(f"table of {count:6d} records         {table_s:7.2f} s  {1e3 * table_s / count:6.2f} ms a record")
            if count == min(sizes):
                print(
                    f"export to Piper of {count:6d} cells {fastest_s(Path(directory), 'exporter=piper', 'vm=1'):5.2f} s"
                )


if __name__ == "__main__":
    main()
