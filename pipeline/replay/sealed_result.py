"""The result of a sealed run, made again of its tables: what `run.save` was given, as far as it was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from pipeline.results.bundled import ENGINE

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.results.contract import Result
    from pipeline.results.record import ResultRecord
    from pipeline.run import Run


@dataclass(frozen=True, eq=False)
class SealedResult:
    """A result, the record it was sealed with, and which of the tables that the record names are not there."""

    result: Result
    record: ResultRecord
    missing: tuple[str, ...]


def sealed_result(run: Run, equity: pd.Series, trades: pd.DataFrame | None) -> SealedResult | None:
    """Return the result of a run that another engine made; None of the bundled engine's, and where no record tells it.

    `equity` and `trades` are those of the run. Figures, files and the engine's own numbers are not read.
    """
    from pipeline.results.contract import Result
    from pipeline.results.kept import Kept

    told = run.result
    if told is None or told.capital is None or told.first_label not in {"start", "period"}:
        return None
    if told.engine is not None and told.engine.name == ENGINE:
        return None
    kept = Kept(run.dir)
    account = kept.part("account")
    columns = {} if account is None else {str(name): account[name] for name in account}
    result = Result(
        equity=equity,
        capital=told.capital,
        first_label=cast(Literal["start", "period"], told.first_label),
        engine=told.engine,
        symbols=told.symbols,
        costs=told.costs,
        trades=trades,
        fills=kept.part("fills"),
        positions=kept.part("positions"),
        weights=kept.part("weights"),
        prices=kept.part("prices"),
        cash=columns.get("cash"),
        leverage=columns.get("leverage"),
        conventions=run.conventions,
    )
    return SealedResult(result, told, tuple(name for name in told.parts if getattr(result, name, None) is None))
