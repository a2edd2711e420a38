"""What is done before the first cell of a notebook: once in the fork server, so that no kernel has to do it."""

from __future__ import annotations

import io
from importlib import import_module

# What a notebook imports of this package, by itself or by what it calls, to join its run, load, backtest and save.
PACKAGE = (
    "pipeline.child_process",
    "pipeline.inputs.doors",
    "pipeline.session",
    "pipeline.start",
    "pipeline.backtest.benchmark",
    "pipeline.backtest.from_spec",
    "pipeline.backtest.sensitivity",
    "pipeline.tracking.journal_tracker",
)


def package() -> None:
    """Import what runs use of this package, and take the digest of each module of the project when it is imported.

    Every kernel of a run has it, forked or fresh, whether its notebook uses it or not: its manifest names the same
    modules either way, each with the digest of the source that is executed.
    """
    from pipeline.evidence.modules import watch_imports

    watch_imports()
    for name in PACKAGE:
        import_module(name)


def compiled_loop() -> None:
    """Compile the backtest's loop where numba is installed; then the kernels have it from their first backtest on."""
    import numpy as np

    from pipeline.backtest.kernel import numba_installed, run_kernel

    if numba_installed():
        bars, signal = (np.ones(2),) * 4, np.ones(2, np.int8)
        run_kernel(bars, signal, initial_cash=1.0, fee=0.0, slippage=0.0, stop=0.0, next_open=True, compiled=True)


def libraries() -> None:
    """Read, describe, show, write and draw a table of three rows, with the libraries that runs use."""
    import pandas as pd
    from matplotlib.figure import Figure

    text = "timestamp,close\n2024-01-01T00:00:00Z,1.5\n2024-01-02T00:00:00Z,2.5\n2024-01-03T00:00:00Z,2.0\n"
    table = pd.read_csv(io.StringIO(text), dtype={"timestamp": "string"})
    table["timestamp"] = pd.to_datetime(table["timestamp"], utc=True, format="ISO8601")
    table = table.set_index("timestamp")
    str(table.describe())
    table.to_csv(io.StringIO(), lineterminator="\n")
    table.to_parquet(io.BytesIO())
    figure = Figure()
    axes = figure.subplots()
    axes.plot(table.index.to_numpy(), table["close"].to_numpy(), label="close")
    axes.legend()
    figure.savefig(io.BytesIO(), format="png")
