"""How results look on the terminal: plain text that survives a pipe, JSON where asked."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.digest import sha256_file
from pipeline.run import HEADLINE, Run, format_stat

if TYPE_CHECKING:
    from pipeline.doctor import Finding
    from pipeline.evidence.problem import Verification
    from pipeline.report.bulk import Rendered
    from pipeline.runner import RunOutcome
    from pipeline.settings import Settings
    from pipeline.spec import RunSpec
    from pipeline.tracking import SyncResult

T = TypeVar("T")
UNREADABLE = "UNREADABLE"
STYLES = {"FINISHED": "green", "FAILED": "red", "KILLED": "yellow", "RUNNING": "cyan", UNREADABLE: "red"}
LOOK_AHEAD = {
    "clean": "none found",
    "leak": "FOUND",
    "unjudged": "cannot be judged",
    "stochastic": "unknown",
    "unchecked": "not checked",
}


def console(*, stderr: bool = False) -> Console:
    """Return a console that never wraps what a script may read, and never interprets markup in our data."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print strict JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_facts(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print names and values below each other."""
    if as_json:
        print_json(facts)
        return
    width = max(len(name) for name in facts) + 2
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{name.replace('_', ' '):<{width}}{'–' if shown is None else shown}")


@contextmanager
def stages(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows on stderr which stage a run is in, with the seconds since the start."""
    out = console(stderr=True)
    begin = time.perf_counter()

    def show(stage: str) -> None:
        if not quiet:
            out.print(Text(f"{time.perf_counter() - begin:6.1f} s  {stage.replace('_', ' ')}", style="dim"))

    yield show


def say_where(settings: Settings) -> None:
    """Say on stderr where results go when that is a new directory, and none of a project."""
    from pipeline.settings import is_project

    if not is_project(settings.root) and not settings.results.exists():
        text = f"{settings.root} is not a project (no _quarto.yml, no notebooks/backtest.ipynb): results go to"
        console(stderr=True).print(Text(f"Note: {text} {settings.results}, a new directory.", style="yellow"))


def print_outcome(outcome: RunOutcome, *, as_json: bool) -> None:
    """Print how a run ended: status, metrics, paths, links, warnings."""
    run = outcome.run
    if as_json:
        warnings = list(outcome.warnings)
        print_json(
            {**run_facts(run), "warnings": warnings, "stages": outcome.stages, "exit_error": _error_text(outcome)}
        )
        return
    out = console()
    _print_facts(out, run)
    out.print(f"seconds     {', '.join(f'{name} {seconds:.1f}' for name, seconds in outcome.stages.items())}")
    errors = console(stderr=True)
    for warning in outcome.warnings:
        errors.print(Text(f"Warning: {warning}", style="yellow"))
    if outcome.error is not None:
        errors.print(Text(f"Error: {outcome.error}", style="red"))


def print_reused(spec: RunSpec, settings: Settings, *, every: bool, as_json: bool) -> bool:
    """Print the run that can be used instead of executing `spec`, or why there is none; say which it was.

    With `every`, also why each earlier run that was looked at was not the one.
    """
    from pipeline.evidence.trust import project_trust
    from pipeline.replay import find_reusable

    found = find_reusable(spec, settings, trust=project_trust(settings))
    console(stderr=True).print(Text(f"reuse: {_one_line(found.why)}", style="dim"))
    for considered in found.considered if every else ():
        console(stderr=True).print(Text(f"  not {_one_line(str(considered))}", style="dim"))
    if found.run is None:
        return False
    if as_json:
        print_json({**run_facts(found.run), "reused": True, "why": found.why})
    else:
        _print_facts(console(), found.run)
    return True


def _error_text(outcome: RunOutcome) -> str | None:
    return None if outcome.error is None else str(outcome.error)


def progress(items: Iterator[T], *, total: int, quiet: bool) -> Iterator[T]:
    """Yield `items`; for more than one, show on stderr how many of `total` are done."""
    if quiet or total <= 1:
        yield from items
        return
    from rich.progress import track

    yield from track(items, description="rendering", total=total, console=console(stderr=True))


def digest_or_none(path: Path) -> str | None:
    """Return the SHA-256 of a file, None when there is none."""
    return sha256_file(path) if path.is_file() else None


def warn(text: str | None) -> None:
    """Print a warning on stderr, if there is one."""
    if text:
        console(stderr=True).print(Text(f"Warning: {_one_line(text)}", style="yellow"))


def warn_unpublished(result: SyncResult | None) -> None:
    """Say why a report is not attached to its tracked run yet."""
    warn(f"not in MLflow yet: {result.error}" if result is not None and result.error else None)


def print_rendered(rendered: Sequence[Rendered], *, as_json: bool) -> None:
    """Print where the reports are and what made them, or why there is none."""
    if as_json:
        facts = [
            {"run_id": item.run.run_id, "error": item.error}
            if item.record is None
            else {"report": str(item.run.dir.report), **asdict(item.record)}
            for item in rendered
        ]
        print_json(facts[0] if len(facts) == 1 else facts)
        return
    from pipeline.evidence.verify import verify_run

    errors = console(stderr=True)
    for item in rendered:
        if item.record is None:
            errors.print(Text(f"Error: {item.run.run_id}: {item.error}", style="red"))
            continue
        print(f"{item.run.dir.report}\nrendered by {item.record.version}")
        for name, file in item.record.files.items():
            print(f"{item.run.dir.report.with_name(name)}\nmade by {file['made_by']}")
        if item.record.note:
            errors.print(Text(f"Warning: {item.record.note}", style="yellow"))
        if item.run.manifest_digest and (problems := verify_run(item.run.dir, report=False).problems):
            text = f"{item.run.run_id} does not match its seal, and its report says so: {problems[0]}"
            errors.print(Text(f"Warning: {_one_line(text)}", style="yellow"))
    if not rendered:
        print("No report is stale.")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print a table of text, or `empty` when it has no rows."""
    if not rows:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, no_wrap=title in ("run_id", "sweep"))
    for row in rows:
        table.add_row(*row)
    out = Console(markup=False, highlight=False) if sys.stdout.isatty() else Console(markup=False, width=200)
    out.print(table)


def print_runs(runs: Sequence[Run], *, total: int, as_json: bool) -> None:
    """Print one line a run."""
    if as_json:
        print_json([run_facts(run) for run in runs])
        return
    if not runs:
        print("There are no runs yet. `evidence run --config config/demo.toml` makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "run_id",
        "started (UTC)",
        "name",
        "strategy",
        "symbol",
        "status",
        "return",
        "sharpe",
        "look-ahead",
        "sealed",
        "mlflow",
        "report",
    ):
        table.add_column(title, justify="right" if title in ("return", "sharpe") else "left", no_wrap=title == "run_id")
    for run in runs:
        table.add_row(*_row(run))
    out = Console(markup=False, highlight=False) if sys.stdout.isatty() else Console(markup=False, width=200)
    out.print(table)
    if total > len(runs):
        out.print(f"{total - len(runs)} more: evidence list --limit 0")


def _row(run: Run) -> list[str | Text]:
    record, config, stats = run.record, run.config, run.stats
    total_return = stats.get("total_return")
    is_number = isinstance(total_return, int | float)
    return [
        run.run_id,
        record.started_at[:19].replace("T", " "),
        _one_line(record.name),
        _one_line(config.get("strategy", {}).get("name", "")),
        _one_line(config.get("data", {}).get("symbol") or ""),
        Text(record.status, style=STYLES.get(record.status, "")),
        f"{total_return:.1%}" if is_number else format_stat(total_return),
        format_stat(stats.get("sharpe")),
        LOOK_AHEAD.get(run.look_ahead or "", "–"),
        "yes" if run.manifest_digest else "no",
        _tracking_state(run) if record.status != UNREADABLE else "–",
        "yes" if _has_report(run) else "–",
    ]


def _tracking_state(run: Run) -> str:
    if run.pending:
        return f"{run.pending} pending"
    return "yes" if (run.tracking or {}).get("mlflow_run_id") else "–"


def _has_report(run: Run) -> bool:
    return os.path.isfile(run.dir.report)  # noqa: PTH113 - a Path raises where the directory may not be read


def _one_line(text: str) -> str:
    """Return text without control characters, so that a name cannot write to the terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)


def run_facts(run: Run) -> dict[str, Any]:
    """Return what is known of a run as JSON values."""
    record = asdict(run.record)
    for bulky in ("packages", "modules"):
        record.pop(bulky)
    readable = run.status != UNREADABLE
    return {
        **record,
        "directory": str(run.dir.path),
        "report": str(run.dir.report) if _has_report(run) else None,
        "manifest_sha256": run.manifest_digest,
        "config": run.config,
        "stats": run.stats,
        "look_ahead": run.look_ahead,
        "tracking": run.tracking if readable else None,
        "tracking_pending": run.pending if readable else 0,
    }


def print_run(run: Run, *, as_json: bool) -> None:
    """Print everything known of a run."""
    if as_json:
        artifacts = [{**asdict(artifact), "url": _artifact_url(run, artifact.path)} for artifact in run.artifacts]
        extra = {"packages": run.record.packages, "modules": run.record.modules, "artifacts": artifacts}
        print_json({**run_facts(run), **extra})
        return
    out = console()
    _print_facts(out, run)
    for title, values in (("stats", run.stats), ("params", run.config.get("strategy", {}).get("params", {}))):
        out.print(Text(f"\n{title}", style="bold"))
        for name, value in values.items():
            shown = format_stat(value) if title == "stats" else json.dumps(value, ensure_ascii=False)
            out.print(f"  {_one_line(name):<20} {_one_line(shown)}")
    out.print(Text("\nfiles", style="bold"))
    for artifact in run.artifacts:
        url = _artifact_url(run, artifact.path) or ""
        out.print(f"  {artifact.sha256[:12]}  {artifact.size:>9,}  {_one_line(artifact.path):<30} {url}".rstrip())


def _artifact_url(run: Run, path: str) -> str | None:
    from pipeline.tracking import artifact_url

    return artifact_url((run.tracking or {}).get("run_url"), path)


def _print_facts(out: Console, run: Run) -> None:
    record = run.record
    out.print(Text.assemble("run         ", (run.run_id, "bold"), "  ", _one_line(record.name)))
    out.print(Text.assemble("status      ", (record.status, STYLES.get(record.status, ""))))
    if record.error is not None:
        for number, line in enumerate(record.error.get("message", "").strip().splitlines()):
            out.print(f"{'' if number else 'error':<12}{_one_line(line)}")
    headline = [f"{name} {format_stat(run.stats[name])}" for name in HEADLINE if name in run.stats]
    if headline:
        out.print(f"metrics     {', '.join(headline)}")
    if run.look_ahead is not None:
        out.print(f"look-ahead  {LOOK_AHEAD[run.look_ahead]}")
    out.print(f"directory   {run.dir.path}")
    if run.dir.report.is_file():
        out.print(f"report      {run.dir.report.as_uri()}")
    if run.manifest_digest:
        out.print(f"manifest    sha256:{run.manifest_digest}")
    for label, key in (("mlflow run", "mlflow_run_id"), ("mlflow", "run_url")):
        if (run.tracking or {}).get(key):
            out.print(f"{label:<11} {(run.tracking or {})[key]}")


def print_verifications(verifications: Sequence[Verification], *, as_json: bool) -> None:
    """Print one line a run, and one a problem or note."""
    if as_json:
        print_json([{**asdict(verification), "ok": verification.ok} for verification in verifications])
        return
    out = console()
    for verification in verifications:
        mark = ("ok", "green") if verification.ok else ("NOT OK", "red")
        digest = f"manifest sha256:{verification.manifest_sha256}" if verification.manifest_sha256 else ""
        what = "entries" if verification.run_id.endswith(".jsonl") else "files"
        out.print(Text.assemble(verification.run_id, "  ", mark, f"  {verification.files} {what}  {digest}"))
        for problem in verification.problems:
            out.print(f"  {_one_line(str(problem))}")
        for note in verification.notes:
            out.print(Text(f"  note: {_one_line(note)}", style="dim"))
    if not verifications:
        out.print("There are no runs.")
    elif len(verifications) > 1:
        broken = sum(not verification.ok for verification in verifications)
        out.print(
            f"{len(verifications)} verified, {broken} NOT OK" if broken else f"{len(verifications)} verified, all ok"
        )


def print_synced(results: Sequence[SyncResult], *, as_json: bool) -> None:
    """Print what came of delivering to MLflow, one line a run."""
    if as_json:
        print_json([asdict(result) for result in results])
        return
    out = console()
    for result in results:
        mark = ("failed", "red") if result.error else ("ok", "green")
        facts = f"  delivered {result.delivered}, pending {result.pending}  mlflow run {result.mlflow_run_id or '–'}"
        out.print(Text.assemble(result.run_id, "  ", mark, facts))
        for rejected in result.rejected:
            out.print(f"  refused by the store: {_one_line(rejected)}")
        if result.error:
            out.print(f"  {_one_line(result.error)}")
    if not results:
        out.print("Nothing is pending.")


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what is installed and what is missing."""
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    out = console()
    for finding in findings:
        state = Text(finding.version, style="green") if finding.version else Text("missing", style="yellow")
        line = Text.assemble(f"{finding.group:<10} {finding.name:<18} ", state)
        out.print(line if finding.version else line + Text(f": {finding.remedy}"))
