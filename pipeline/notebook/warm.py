"""What libraries do at their first use only, done once in the fork server instead of in every kernel."""

from __future__ import annotations

import io


def libraries() -> None:
    """Read, check, describe, show, write and draw a table of three rows, with the libraries that runs use."""
    import pandas as pd
    import pandera.pandas as pa
    from matplotlib.figure import Figure

    text = "timestamp,close\n2024-01-01T00:00:00Z,1.5\n2024-01-02T00:00:00Z,2.5\n2024-01-03T00:00:00Z,2.0\n"
    table = pd.read_csv(io.StringIO(text), dtype={"timestamp": "string"})
    table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True, format="ISO8601")
    table = table.set_index("timestamp")
    checks = [pa.Check(lambda values: values > 0), pa.Check.gt(0)]
    pa.DataFrameSchema({"close": pa.Column(float, checks=checks, nullable=False)}).validate(table, lazy=True)
    str(table.describe())
    table.to_csv(io.StringIO(), lineterminator="\n")
    table.to_parquet(io.BytesIO())
    figure = Figure()
    axes = figure.subplots()
    axes.plot(table.index.to_numpy(), table["close"].to_numpy(), label="close")
    axes.legend()
    figure.savefig(io.BytesIO(), format="png")
