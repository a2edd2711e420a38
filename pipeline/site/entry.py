"""What the website knows of one run: its row in the listing, and what the comparison loads."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import metric
from pipeline.escape import clean, one_line
from pipeline.evidence.problem import Verification
from pipeline.files import number
from pipeline.objects import as_object, flat
from pipeline.report.numbers import format_number, several
from pipeline.run_row import RunRow

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipeline.run import Run

SPARK_POINTS = 40
SPARK_LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
CURVE_POINTS = 20_000  # so that the curve of a long run is whole in a short period, too
SIGNED, SEALED, BROKEN, UNSEALED = "signed", "sealed", "broken", "unsealed"
SHOWN_SECTIONS = ("strategy", "backtest", "data", "run")
PRECISION = 6
DATA_DIGITS = 8
OWN_TAGS = "evidence."  # tags that this package sets, for programs

Number = float | int | None


@dataclass(frozen=True)
class SiteEntry:
    """One row of the listing. `seal` is signed, sealed, broken or unsealed; `stats` are rounded to six digits.

    `look_ahead` is what the check found (Run.look_ahead), empty without a backtest; `data` the start of the digest of
    the data; `found` says of a sweep how many trials it has and what its best one reached, and is empty for a run.
    `reconciled` is the mark of the parts of its result, `period` its first and last day; unknown is empty.
    """

    run_id: str
    name: str
    status: str
    seal: str
    started_at: str
    strategy: str
    symbol: str
    experiment: str
    tags: tuple[str, ...]
    spark: str
    look_ahead: str
    data: str
    found: str
    engine: str
    reconciled: str
    period: str
    stats: dict[str, Number]

    @property
    def order(self) -> tuple[str, str]:
        """Sort key: the run started last comes last."""
        return (self.started_at, self.run_id)

    @property
    def title(self) -> str:
        """The run's name, else the start of its id."""
        return self.name or f"Run {self.run_id[:8]}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SiteEntry:
        """Return what `to_dict` gave."""
        return cls(**{**values, "tags": tuple(values["tags"])})


def seal_word(run: Run, verification: Verification, *, trusted: bool) -> str:
    """Say what verification found: `signed` only when the signature was checked against a trust file."""
    if run.manifest_digest is None:
        return UNSEALED
    if not verification.ok:
        return BROKEN
    return SIGNED if trusted and verification.signer else SEALED


def make_entry(run: Run, seal: str, equity: pd.DataFrame) -> SiteEntry:
    """Return the row of a run."""
    row = RunRow.of(run)
    return SiteEntry(
        run_id=row.run_id,
        name=one_line(row.name),
        status=row.status,
        seal=seal,
        started_at=clean(row.record.started_at)[:19],
        strategy=one_line(row.what.strategy),
        symbol=one_line(row.what.symbol),
        experiment=one_line(row.experiment or ""),
        tags=_tags(row.tags),
        spark=spark(equity),
        look_ahead=row.marks.look_ahead or "",
        data=(row.digests.get("data") or "")[:DATA_DIGITS],
        found=_found(run) if row.is_sweep else "",
        engine=one_line(row.engine or ""),
        reconciled=row.marks.reconciled or "",
        period=str(row.period or ""),
        stats={one_line(name): rounded(value) for name, value in _stats(run).items()},
    )


def comparison(run: Run, entry: SiteEntry, equity: pd.DataFrame) -> dict[str, Any]:
    """Return what the comparison page needs of a run: facts, metrics and params in full, and its thinned curve."""
    return {
        **{key: value for key, value in entry.to_dict().items() if key not in {"spark", "stats"}},
        "stats": _stats(run),
        "risk_free_rate": run.conventions.risk_free_rate,
        "currency": run.conventions.currency,
        "params": _params(run.config),
        "data_sha256": run.record.data and run.record.data.sha256,
        "manifest_sha256": run.manifest_digest,
        "curve": curve(equity),
    }


def script(function: str, value: Any) -> str:
    """Return a script that hands `value` to the page; NaN raises ValueError."""
    return f"EvidenceSite.{function}({to_json(value)});\n"


def to_json(value: Any) -> str:
    """Return compact ASCII JSON, which is a JavaScript expression as well; NaN raises ValueError."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)


def rounded(value: Any) -> Number:
    """Return a number with six significant digits, None for what is not a finite number."""
    found = number(value)
    if found is None:
        return None
    return int(value) if isinstance(value, int) else float(f"{found:.{PRECISION}g}")


def spark(equity: pd.DataFrame) -> str:
    """Return the equity curve as text, one of 64 levels a point; empty for fewer than two finite values."""
    values = _finite(equity)
    if len(values) < 2:
        return ""
    import numpy as np

    chosen = values[np.linspace(0, len(values) - 1, min(SPARK_POINTS, len(values))).round().astype(int)]
    low, high = float(chosen.min()), float(chosen.max())
    levels = np.zeros(len(chosen)) + 31 if high == low else (chosen - low) / (high - low) * 63
    return "".join(SPARK_LEVELS[round(float(level))] for level in levels)


def curve(equity: pd.DataFrame) -> dict[str, Any] | None:
    """Return the thinned curve: first second since 1970, the unit of the steps in seconds, steps, equity; or None.

    `text` is little-endian float32 of equity and uint32 of steps, in base64: two short strings in place of
    thousands of numbers.
    """
    values = _finite(equity)
    if len(values) < 2:
        return None
    import numpy as np

    from pipeline.report.downsample import keep

    seconds = _seconds(equity)
    kept = keep(values, CURVE_POINTS)
    steps = np.diff(seconds[kept])
    unit = int(np.gcd.reduce(steps)) or 1
    return {
        "first": int(seconds[0]),
        "last": int(seconds[-1]),
        "bars": len(values),
        "unit": unit,
        "steps": _base64((steps // unit).astype("<u4")),
        "equity": _base64(values[kept].astype("<f4")),
    }


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _finite(equity: pd.DataFrame) -> np.ndarray:
    """Return the equity as floats when all are finite and above zero in rising time, else nothing."""
    import numpy as np

    if "equity" not in equity.columns or len(equity) < 2 or not equity.index.is_monotonic_increasing:
        return np.empty(0)
    values: np.ndarray = equity["equity"].to_numpy(dtype=float)
    return values if bool(np.isfinite(values).all() and values[0] > 0) else np.empty(0)


def _seconds(equity: pd.DataFrame) -> np.ndarray:
    import pandas as pd

    seconds: np.ndarray = pd.DatetimeIndex(equity.index).as_unit("s").asi8
    return seconds


def _stats(run: Run) -> dict[str, Number]:
    return {str(name): rounded_exactly(value) for name, value in run.stats.items()}


def rounded_exactly(value: Any) -> Number:
    """Return a finite number as it is, None for anything else."""
    return value if rounded(value) is not None else None


def _tags(tags: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(one_line(f"{key}={value}") for key, value in sorted(tags.items()) if not key.startswith(OWN_TAGS))


def _found(run: Run) -> str:
    """Return what a sweep found: `Sweep of 90 trials, best Sharpe ratio 0.58`; the objective that ranks decides."""
    stats = _stats(run)
    names = as_object(run.config.get("sweep")).get("objectives")
    first = one_line(names[0]) if isinstance(names, list) and names else "sharpe"
    shown = metric(first)
    best = format_number(stats.get(f"best_{first}"), shown.kind)
    return f"Sweep of {several(int(stats.get('trials') or 0), 'trial')}, best {shown.label} {best}"


def _params(config: Mapping[str, Any]) -> dict[str, Any]:
    shown = flat({key: config[key] for key in SHOWN_SECTIONS if key in config})
    known = ((name, value) for name, value in shown if value is not None and value != {})
    return {one_line(name): value if isinstance(value, int | float) else one_line(value) for name, value in known}
