"""`exporter=csv`: one tidy table of all records, as comma-separated values."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from sailor_exp.exporters.exporter import Exporter
from sailor_exp.exporters.tables import table


def rendered(columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the table in UTF-8, with a header; an empty value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


EXPORTER = Exporter(files=lambda inputs: table(inputs, "csv", rendered))
