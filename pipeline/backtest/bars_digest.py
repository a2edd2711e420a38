"""The digest of bars themselves: the same bars in another file, or read by another library, are the same data."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pipeline.backtest.column_names import PRICES
from pipeline.backtest.timestamps import utc_labels

if TYPE_CHECKING:
    import pandas as pd


def data_digest(df: pd.DataFrame) -> str:
    """Return the SHA-256 of the bars themselves, whatever file, library version or column order they came from.

    Hashed: each name among timestamp, open, high, low, close, volume that is present, the number of rows, then
    the values as little-endian int64 nanoseconds since 1970 UTC (timestamp) or float64 (the rest).
    """
    import numpy as np
    import pandas as pd

    digest = hashlib.sha256(f"ohlcv/1 {len(df)}\n".encode())
    stamps = utc_labels(pd.DatetimeIndex(df.index)).asi8
    digest.update(b"timestamp\n" + stamps.astype("<i8").tobytes())
    for name in (*PRICES, "volume"):
        if name in df.columns:
            values = np.asarray(df[name], dtype="<f8") + 0.0  # -0.0 becomes 0.0
            digest.update(name.encode() + b"\n" + values.tobytes())
    return digest.hexdigest()
