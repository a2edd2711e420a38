"""The commands that remove runs and bring them back: prune, restore, pin, unpin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.key_commands import project_key
from pipeline.cli.options import LAST, AsJson, example
from pipeline.cli.plain import say, say_json

if TYPE_CHECKING:
    from pipeline.evidence.ledger import Entry
    from pipeline.evidence.signer import Signer
    from pipeline.retention.prune import Pruned
    from pipeline.settings import Settings

RunIds = Annotated[
    list[str] | None, typer.Argument(metavar="RUN_ID...", help="Run ids, starts of some, or `last`; default: `last`.")
]


def prune(
    keep_last: Annotated[int | None, typer.Option(min=0, metavar="N", help="Keep the N runs started last.")] = None,
    max_age: Annotated[str | None, typer.Option(metavar="AGE", help="Keep what is younger, as 30d or 12h.")] = None,
    keep_tag: Annotated[
        list[str] | None,
        typer.Option("--keep-tag", metavar="NAME[=VALUE]", help="Keep runs with this tag; repeatable."),
    ] = None,
    keep_best: Annotated[int | None, typer.Option(min=0, metavar="N", help="Keep the N best runs by --by.")] = None,
    by: Annotated[
        str | None, typer.Option(metavar="METRIC", help="The metric of --keep-best; default: sharpe.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="Only runs that fulfil it, as for `list`.")
    ] = None,
    unsealed: Annotated[
        bool, typer.Option("--unsealed", help="Delete what was interrupted and never sealed, and nothing else.")
    ] = False,
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="artifacts, archive or delete; default: artifacts.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also runs that something holds; the ledger says so.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old runs, and leave a signed tombstone of each in the ledger.

    A run goes when it is none of the last, older, not tagged and not among the best, as far as each is given here or in
    config/settings.toml. Pinned, registered, running and undelivered runs stay, those that others rely on, and those
    that do not verify; for each it is said why.
    """
    from pipeline.cli import output
    from pipeline.retention import prune as pruning
    from pipeline.retention.rules import checked_level, combined, read_policy
    from pipeline.settings import Settings

    settings = Settings.load()
    policy = read_policy(settings)
    given = {"keep_last": keep_last, "max_age": max_age, "keep_tags": tuple(keep_tag) if keep_tag else None}
    given |= {"keep_best": keep_best, "by": by, "where": where, "unsealed": unsealed or None}
    done = pruning.prune(
        settings,
        combined(policy, given),
        policy.level if level is None else checked_level(level),
        signer=None if dry_run else project_key(settings),
        force=force,
        dry_run=dry_run,
        progress=lambda items, total: output.progress(items, total=total, quiet=as_json or dry_run, doing="removing"),
    )
    output.print_warnings([f"{run_id} stays: {why}" for run_id, why in done.failed])
    output.print_warnings(done.settled.warnings)
    if as_json:
        say_json(_values(done))
    else:
        _print(done)
    if done.failed:
        raise typer.Exit(1)


def _values(done: Pruned) -> dict[str, Any]:
    plan, failed = done.plan, {run_id for run_id, _ in done.failed}
    going = [one for one in plan.going if one.row.run_id not in failed]
    return {
        "level": plan.level,
        "rule": plan.rule,
        "dry_run": done.dry_run,
        "removed": [
            {"run_id": one.row.run_id, "name": one.row.name, "files": one.removed.files, "bytes": one.removed.bytes,
             "dropped": list(one.removed.names), "forced": [hold.reason for hold in one.forced]}
            for one in going
        ],
        "stay": [
            {"run_id": one.run_id, "name": one.name, "reasons": [hold.reason for hold in one.holds]}
            for one in plan.staying
        ],
        "kept": plan.kept,
        "files": sum(one.removed.files for one in going),
        "bytes": sum(one.removed.bytes for one in going),
        "inputs": done.settled.inputs,
        "input_bytes": done.settled.bytes,
        "failed": [{"run_id": run_id, "reason": why} for run_id, why in done.failed],
        "warnings": list(done.settled.warnings),
    }  # fmt: skip


def _print(done: Pruned) -> None:
    plan, failed = done.plan, {run_id for run_id, _ in done.failed}
    going = [one for one in plan.going if one.row.run_id not in failed]
    for one in going if done.dry_run else ():
        say(f"{one.row.run_id}  would go    {one.row.name}  {one.removed.bytes:,} bytes")
    for one in going:
        for hold in one.forced:
            say(f"{one.row.run_id}  although    {hold}")
    for staying in plan.staying:
        for hold in staying.holds:
            say(f"{staying.run_id}  stays       {hold}")
    verb = "would be " if done.dry_run else ""
    size, files = sum(one.removed.bytes for one in going), sum(one.removed.files for one in going)
    what = {"artifacts": "have their artifacts dropped" if verb else "have lost their artifacts"}.get(plan.level, "")
    deed = {"archive": f"{verb}archived", "delete": f"{verb}deleted"}.get(plan.level, what)
    inputs = f"; {done.settled.inputs} kept inputs, {done.settled.bytes:,} bytes" if done.settled.inputs else ""
    say(f"{len(going)} runs {deed}: {files} files, {size:,} bytes{inputs}")
    say(f"{len(plan.staying)} would go and stay, {plan.kept} are kept by {plan.rule}")


def restore(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="An archived run, the start of its id, or `last`, archived last.")
    ] = LAST,
    as_json: AsJson = False,
) -> None:
    """Bring an archived run back, byte for byte, with the inputs it used; the archive goes then."""
    from pipeline.cli import output
    from pipeline.retention.restore import restore as bring_back
    from pipeline.settings import Settings

    settings = Settings.load()
    done = bring_back(settings, run_id, signer=project_key(settings))
    output.print_warnings(done.settled.warnings)
    facts = {"run_id": done.run.run_id, "directory": str(done.run.path), "entry": done.entry.seq}
    output.print_facts(facts, as_json=as_json)


def pin(
    run_ids: RunIds = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever wants to remove it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Pin runs: no rule removes them."""
    from pipeline.retention.restore import pin as enter

    settings, signer = _project()
    _print_pins(enter(settings, _wanted(run_ids, settings), reason=reason, signer=signer), "pinned", as_json=as_json)


def unpin(run_ids: RunIds = None, as_json: AsJson = False) -> None:
    """Take the pins of runs away."""
    from pipeline.retention.restore import unpin as enter

    settings, signer = _project()
    _print_pins(enter(settings, _wanted(run_ids, settings), signer=signer), "unpinned", as_json=as_json)


def _project() -> tuple[Settings, Signer | None]:
    from pipeline.settings import Settings

    settings = Settings.load()
    return settings, project_key(settings)


def _wanted(run_ids: list[str] | None, settings: Settings) -> list[str]:
    from pipeline.run import load_run

    return [load_run(run_id, settings=settings).run_id for run_id in run_ids or [LAST]]


def _print_pins(entries: list[Entry], word: str, *, as_json: bool) -> None:
    if as_json:
        say_json([{"run_id": entry.event.run_id, "pinned": word == "pinned", "entry": entry.seq} for entry in entries])
        return
    for entry in entries:
        say(f"{entry.event.run_id}  {word}")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog=example("evidence prune --keep-last 200 --max-age 30d --dry-run"))(prune)
    app.command(epilog=example("evidence restore last"))(restore)
    app.command(epilog=example("evidence pin last --reason 'in the March review'"))(pin)
    app.command(epilog=example("evidence unpin last"))(unpin)
