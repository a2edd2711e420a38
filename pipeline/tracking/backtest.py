"""Record a backtest on any tracker: its config and stats, and the files made from it."""

from __future__ import annotations

import json
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pipeline.errors import TrackingError
from pipeline.tracking.files import jsonable
from pipeline.tracking.protocol import PathLike, TrackingWarning

# Names in MLflow of the files that `pipeline.artifacts` writes; the rest keep theirs.
EQUITY_FILE = {"equity.csv": "equity_curve.csv"}
ARTIFACTS = (
    "stats.json",
    "conventions.json",
    "equity_curve.csv",
    "trades.csv",
    "trades.parquet",
    "plots/equity_curve.png",
    "reports/trades_summary.json",
    "reports/backtest_report.txt",
)


def log_backtest_metadata(
    tracker: Any, *, config: Any = None, result: Any = None, tags: Mapping[str, Any] | None = None, **others: Any
) -> None:
    """Record a backtest's config as params, its stats as metrics, and strategy, symbol and commit as tags.

    `config` defaults to `result.config`. `others`, whatever they are called (`strategy_name="…"`), are tags, too.
    Undefined stats are skipped by the tracker. Tolerant: what is missing or odd is a TrackingWarning; only a tracker in
    mode `strict` raises (TrackingError).
    """
    if not _records(tracker):
        return

    def record() -> None:
        values = _mapping(config if config is not None else getattr(result, "config", None))
        values = {key: value for key, value in values.items() if key != "symbol" or value}
        params = {("strategy.params" if key == "params" else key): value for key, value in values.items()}
        labels: dict[str, Any] = {name: values[name] for name in ("strategy", "symbol", "execution") if name in values}
        commit = git_commit()
        if commit:
            labels |= {"git_commit": commit, "mlflow.source.git.commit": commit}
        with getattr(tracker, "batched", nullcontext)():
            known: frozenset[str] = getattr(tracker, "known_params", frozenset())
            tracker.log_params(_without(params, known))
            stats = _mapping(getattr(result, "stats", None))
            tracker.log_metrics({name: value for name, value in stats.items() if value is not None})
            tracker.set_tags({**labels, **others, **_mapping(tags)})

    _tolerant(record, "The backtest's metadata")


def log_backtest_artifacts(
    tracker: Any, result: Any = None, *, artifacts_dir: PathLike | None = None, output_dir: PathLike | None = None
) -> list[Path]:
    """Record a backtest's files: stats, equity curve, figure, trades and summaries.

    With a `result` they are written first, to `artifacts_dir` when given (and stay there), else to a
    temporary directory; without one, those found in `artifacts_dir` are recorded. `output_dir` is another name for
    `artifacts_dir`. Returns the local paths that remain. Tolerant like `log_backtest_metadata`.
    """
    artifacts_dir = artifacts_dir if artifacts_dir is not None else output_dir
    kept: list[Path] = []
    if not _records(tracker) and artifacts_dir is None:
        return kept

    def record() -> None:
        with nullcontext(artifacts_dir) if artifacts_dir else tempfile.TemporaryDirectory() as place:
            directory = Path(place)
            if result is not None:
                write_files(result, directory)
            found = [name for name in ARTIFACTS if (directory / name).is_file()]
            for name in found if tracker is not None else []:
                tracker.log_artifact(directory / name, name.rpartition("/")[0] or None)
            if not found:
                _warn(f"No backtest artifacts to record: no result given, nothing known in {directory}.")
            kept.extend(directory / name for name in found if artifacts_dir)

    _tolerant(record, "The backtest's artifacts")
    return kept


def _records(tracker: Any) -> bool:
    """Return whether a tracker may record anything; what derives from NoopTracker may."""
    return tracker is not None and getattr(tracker, "records_nothing", False) is not True


def write_files(result: Any, directory: Path) -> None:
    """Write a backtest's files below `directory`; of an unusual result, what can be written of it."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        from pipeline.artifacts import write_backtest_artifacts

        write_backtest_artifacts(result, directory)
    except Exception as error:  # noqa: BLE001 - a result of another engine may lack anything; its numbers still count
        _warn(f"Not all artifacts of the backtest could be made: {type(error).__name__}: {error}")
        _write_parts(result, directory)
    for name, wanted in EQUITY_FILE.items():
        if (directory / name).is_file():
            (directory / name).replace(directory / wanted)


def _write_parts(result: Any, directory: Path) -> None:
    stats = _mapping(getattr(result, "stats", result))
    if stats and not (directory / "stats.json").exists():
        (directory / "stats.json").write_text(json.dumps(jsonable(stats), indent=2, sort_keys=True) + "\n")
    for attribute, name in (("equity_curve", "equity.csv"), ("trades", "trades.csv")):
        frame = getattr(result, attribute, None)
        if callable(getattr(frame, "to_csv", None)) and not (directory / name).exists():
            frame.to_csv(directory / name)  # type: ignore[union-attr]


def git_commit(start: Path | None = None) -> str | None:
    """Return the commit checked out in the working directory, None outside of a git repository."""
    here = start or Path.cwd()
    for directory in (here, *here.parents):
        git = directory / ".git"
        if git.is_dir():
            return _head(git)
        if git.is_file():
            return _ask_git(directory)
    return None


def _head(git: Path) -> str | None:
    try:
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(" ")[0] for line in packed if line.endswith(f" {name}")), None)


def _ask_git(directory: Path) -> str | None:
    try:
        command = ["git", "-C", str(directory), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()  # noqa: S603 - fixed arguments
    except (OSError, subprocess.SubprocessError):
        return None


def _mapping(value: Any) -> dict[str, Any]:
    """Return a mapping, or an object's `.raw` or `to_dict()`, as a dict; anything else is empty."""
    if isinstance(value, Mapping):
        return dict(value)
    raw = getattr(value, "raw", None)
    if isinstance(raw, Mapping):
        return dict(raw)
    to_dict = getattr(value, "to_dict", None)
    made = to_dict() if callable(to_dict) else None
    return dict(made) if isinstance(made, Mapping) else {}


def _without(params: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    if not known:
        return params
    from pipeline.objects import flat

    return {name: value for name, value in flat(params) if name not in known}


def _tolerant(record: Callable[[], None], what: str) -> None:
    try:
        record()
    except TrackingError:
        raise
    except Exception as error:  # noqa: BLE001 - recording must not cost the caller her backtest
        _warn(f"{what} could not be recorded: {type(error).__name__}: {error}")


def _warn(message: str) -> None:
    warnings.warn(message, TrackingWarning, stacklevel=4)
