"""Which records belong together."""

from pathlib import Path

from sailor_exp.records.files import read_all
from sailor_exp.records.identity import but_for_the_cell
from sailor_exp.records.record import Outcome, Record


def siblings(of: Record, profile_dir: Path) -> list[Record]:
    """Return the records that may stand in one file with this one: all but the keys of the cell is the same.

    Of the records of one cell, which may differ in gpu.memory_gb, the newest. Raises RecordError.
    """
    found: dict[tuple[tuple[str, int], ...], Record] = {}
    for _, other in read_all(profile_dir, of.identity.profile):
        key = tuple(other.identity.cell_keys.items())
        newer = key not in found or found[key].provenance.finished_at <= other.provenance.finished_at
        if newer and but_for_the_cell(other.identity) == but_for_the_cell(of.identity):
            found[key] = other
    return [found[key] for key in sorted(found)]


def strangers(of: Record, profile_dir: Path) -> list[Record]:
    """Return the records of the same profile with numbers that may not stand in one file with this one.

    Raises RecordError.
    """
    others = (other for _, other in read_all(profile_dir, of.identity.profile) if other.outcome is Outcome.ok)
    return [other for other in others if but_for_the_cell(other.identity) != but_for_the_cell(of.identity)]
