"""Frames that a notebook declares as inputs: digested as data, kept as Parquet, read back as what they were."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.errors import DataError
from pipeline.evidence.inputs import DATA_LIMIT, use_kept
from pipeline.files import write_atomic
from pipeline.rundir import INPUTS_DIR

FREQUENCY = b"evidence.freq"
SERIES = b"evidence.series"


@dataclass(frozen=True)
class Frame:
    """A declared frame: SHA-256 of its Parquet file and of its data, and when it was declared, ISO-8601 UTC text.

    `data_sha256` does not depend on who writes the Parquet file. `kept` is false for one that is too large, `replayed`
    true for one that was taken from the run that is replayed.
    """

    name: str
    sha256: str
    data_sha256: str
    rows: int
    columns: int
    at: str
    kept: bool = True
    replayed: bool = False


def as_table(frame: Any, name: str) -> Any:
    """Return a pandas frame or series, or anything that speaks Arrow's protocol, as an Arrow table; else DataError."""
    import pandas as pd
    import pyarrow as pa

    extra: dict[bytes, bytes] = {}
    try:
        if isinstance(frame, pd.Series):
            extra[SERIES] = json.dumps(frame.name is not None).encode()
            frame = frame.to_frame(name if frame.name is None else frame.name)
        if isinstance(frame, pd.DataFrame):
            if frequency := getattr(frame.index, "freqstr", None):
                extra[FREQUENCY] = frequency.encode()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what pandas and Arrow have to tell each other
                table = pa.Table.from_pandas(frame)
        elif hasattr(frame, "__arrow_c_stream__"):
            table = pa.table(frame)
        else:
            raise DataError(
                f"The input {name} is a {type(frame).__name__}. Give a path, a pandas frame or series, an Arrow table, "
                "or another frame that speaks Arrow's protocol."
            )
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"The input {name} cannot be kept as Parquet: {error}. Give columns of one type each."
        ) from None
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **extra})


def keep_frame(frame: Any, name: str, at: str, results: Path) -> tuple[Frame, bytes]:
    """Keep a frame below `results`, by the digest of its Parquet file; return what is recorded of it, and the file."""
    import pyarrow.parquet as pq

    table = as_table(frame, name)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    content = buffer.getvalue()
    sha256 = sha256_bytes(content)
    kept = len(content) <= DATA_LIMIT
    if kept:
        target = results / INPUTS_DIR / f"{sha256}.parquet"
        if use_kept(target) is None:
            write_atomic(target, content)
    data = data_digest(pq.read_table(io.BytesIO(content)))  # Parquet calls some types by other names than Arrow
    return Frame(name, sha256, data, table.num_rows, table.num_columns, at, kept), content


def read_frame(content: bytes, like: Any) -> Any:
    """Return a kept frame as what was declared: of the kind of `like`, None for what its metadata says."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    metadata = table.schema.metadata or {}
    if isinstance(like, pa.Table):
        return table
    if like is not None and not isinstance(like, pd.DataFrame | pd.Series):
        return type(like)(table)
    if like is None and b"pandas" not in metadata:
        return table
    frame = table.to_pandas()
    if (frequency := metadata.get(FREQUENCY)) is not None:
        frame.index.freq = frequency.decode()
    if SERIES in metadata:
        series = frame.iloc[:, 0]
        return series if json.loads(metadata[SERIES]) else series.rename(None)
    return frame


def data_digest(table: Any) -> str:
    """Return the SHA-256 of a table's names, types and values, the same whoever wrote it and in whatever chunks."""
    digest = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        head = json.dumps([field.name, str(field.type), len(column)], ensure_ascii=False).encode()
        digest.update(b"%d:" % len(head) + head)
        for part in _values(column):
            digest.update(part)
    return digest.hexdigest()


def _values(column: Any) -> tuple[bytes, ...]:
    """Return which values are null, and all values: numbers and times by their bytes, text with its lengths."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.cast(kind.value_type))
    nulls = column.is_null().to_numpy().tobytes() if column.null_count else b""
    if pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        column = column.cast(pa.int64() if kind.bit_width == 64 else pa.int32())
        kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = column.fill_null(0).to_numpy()
        if pa.types.is_floating(kind):
            values = np.where(np.isnan(values), np.asarray(np.nan, values.dtype), values)
        return nulls, np.ascontiguousarray(values).tobytes()
    if pa.types.is_boolean(kind):
        return nulls, column.fill_null(False).to_numpy().tobytes()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        filled = column.fill_null("")
        lengths = pc.binary_length(filled).cast(pa.int64()).to_numpy()
        return nulls, lengths.tobytes(), "".join(filled.to_pylist()).encode()
    return nulls, repr(column.to_pylist()).encode()
