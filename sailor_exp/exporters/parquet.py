"""`exporter=parquet`: one tidy table of all records, as Parquet. Needs pyarrow."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from sailor_exp.errors import MissingPackageError
from sailor_exp.exporters.exporter import Exporter
from sailor_exp.exporters.tables import table


def rendered(columns: Mapping[str, type], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the table as Parquet. Raises MissingPackageError where pyarrow is not installed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(asked="exporter=parquet", package="pyarrow", extra="parquet") from error
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    content = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), content)
    return content.getvalue()


EXPORTER = Exporter(files=lambda inputs: table(inputs, "parquet", rendered))
