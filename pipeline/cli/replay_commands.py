"""The commands `replay`, `explain` and `export`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import LAST, AsJson, RunId, Tolerance, TrustFile, example, sent_path
from pipeline.cli.plain import one_line, say, say_json

if TYPE_CHECKING:
    from pipeline.evidence.problem import Verification
    from pipeline.run import Run

DIFFERENT = 3
CONSISTENT, NOBODY_KNOWN = "consistent", 4


def replay(
    run_id: Annotated[
        str,
        typer.Argument(
            metavar="RUN_ID|BUNDLE", help="A run_id, the start of one, `last`, or a bundle: its zip, or unpacked."
        ),
    ] = LAST,
    tolerance: Tolerance = None,
    search: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Look here too for the data, by its digest."),
    ] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Remove the replay's run directory afterwards.")] = False,
    trust: TrustFile = None,
    as_json: AsJson = False,
) -> None:
    """Execute a run again from its recorded inputs and compare. Exit codes: 0 equal, 3 different.

    Of a bundle, the code, notebook and inputs that came along are used, in a temporary directory: this executes what
    its sender wrote. Nothing is kept of that replay.
    """
    from pipeline.cli import output
    from pipeline.cli.key_commands import asker
    from pipeline.evidence.trust import load_trust, project_trust
    from pipeline.replay import replay_run
    from pipeline.replay.sent import replay_sent
    from pipeline.run import load_run
    from pipeline.settings import Settings

    places = tuple(search or ())
    with output.stages(quiet=as_json) as progress:
        if (sent := sent_path(run_id)) is not None:
            allowed = load_trust(trust, named=True) if trust else None
            result = replay_sent(sent, tolerance=tolerance, search=places, trust=allowed, progress=progress)
        else:
            settings = Settings.load()
            result = replay_run(
                load_run(run_id, settings=settings),
                settings=settings,
                tolerance=tolerance,
                search=places,
                discard=discard,
                trust=project_trust(settings, trust),
                progress=progress,
                prompt=asker(),
            )
    output.print_warnings(result.warnings)
    if as_json:
        say_json(result.to_dict())
    else:
        _print_lines(result.lines())
    if not result.equal:
        raise typer.Exit(DIFFERENT)


def recompute(
    target: Annotated[
        str, typer.Argument(metavar="RUN_ID|BUNDLE|DIR", help="A run, a bundle, or the directory of either.")
    ] = LAST,
    trust: TrustFile = None,
    as_json: AsJson = False,
) -> None:
    """Compute a run's figures again from its sealed tables: metrics from equity, its change from trades.

    Of a sweep: best trial, deflated Sharpe ratio and overfitting, from the table of trials. Nothing is executed. Exit
    codes as of `verify`: 0 equal or not checkable, 3 a figure differs or the seal does not match, 4 the same as 0 for
    what was sent and nobody known signed.
    """
    from pipeline.replay.recompute import recompute_run
    from pipeline.sweep.recompute import recompute_sweep

    with _verified(target, trust) as (run, verification):
        found = recompute_sweep(run) if run.is_sweep else recompute_run(run)
    if as_json:
        say_json({**found.to_dict(), "verdict": verification.verdict, "trusted": verification.trusted})
    else:
        _print_lines(iter([*found.lines(), f"seal: {verification.verdict}"]))
    if not found.equal:
        raise typer.Exit(DIFFERENT)
    if verification.verdict == CONSISTENT:
        raise typer.Exit(NOBODY_KNOWN)


@contextmanager
def _verified(target: str, trust_file: Path | None) -> Iterator[tuple[Run, Verification]]:
    """Yield a run of this project or a sent one, and what verifying it found; raises VerificationError."""
    from pipeline.evidence.trust import load_trust, project_trust
    from pipeline.evidence.unbundle import open_sent
    from pipeline.evidence.verify import verify_run
    from pipeline.run import Run, load_run
    from pipeline.settings import Settings

    if (path := sent_path(target)) is not None:
        allowed = load_trust(trust_file, named=True) if trust_file else None
        with open_sent(path, trust=allowed) as sent:
            sent.needs_the_seal("computed again")
            yield Run(sent.run), sent.verification
        return
    settings = Settings.load()
    run = load_run(target, settings=settings)
    verification = verify_run(run.dir, trust=project_trust(settings, trust_file), report=False)
    verification.raise_for_problems()
    yield run, verification


def explain(
    before: Annotated[str, typer.Argument(metavar="A", help="A run_id, the start of one, or `last`.")],
    after: Annotated[
        str, typer.Argument(metavar="B", help="The run to compare it with, named in the same way.")
    ] = LAST,
    tolerance: Tolerance = None,
    as_json: AsJson = False,
) -> None:
    """Say why two runs differ: the first differing input, then by how much. Exit codes: 0 equal, 3 different."""
    from pipeline.replay import explain as explain_runs
    from pipeline.run import load_run
    from pipeline.settings import Settings

    settings = Settings.load()
    runs = load_run(before, settings=settings), load_run(after, settings=settings)
    explanation = explain_runs(*runs, tolerance=tolerance)
    if as_json:
        say_json(explanation.to_dict())
    else:
        _print_lines(explanation.lines())
    if not explanation.equal:
        raise typer.Exit(DIFFERENT)


def export(
    run_id: RunId = LAST,
    ro_crate: Annotated[bool, typer.Option("--ro-crate", help="As a Process Run Crate (RO-Crate 1.1).")] = False,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="A new directory; default: RUN_ID-crate.")
    ] = None,
    author: Annotated[str, typer.Option(metavar="NAME", help="Who executed the run; a run does not record it.")] = "",
    organization: Annotated[str, typer.Option(metavar="NAME", help="The author's organization.")] = "",
    organization_url: Annotated[str, typer.Option(metavar="URL", help="Its home page.")] = "",
    licence: Annotated[str, typer.Option("--license", metavar="URL", help="The licence of the crate.")] = "",
    as_json: AsJson = False,
) -> None:
    """Export a run in a standard format that other tools read."""
    from pipeline.cli import output
    from pipeline.errors import UsageError
    from pipeline.evidence.rocrate import Credit, write_crate
    from pipeline.run import load_run

    if not ro_crate:
        raise UsageError("Say in which format: --ro-crate is the one there is.")
    run = load_run(run_id)
    named = {"author": author, "organization": organization, "organization_url": organization_url, "license": licence}
    credit = Credit(**{name: value for name, value in named.items() if value})
    target = write_crate(run.dir, to or Path(f"{run.run_id}-crate"), credit)
    output.print_unmasked(run.dir, "whoever gets the crate can read it")
    if as_json:
        say_json({"run_id": run.run_id, "directory": str(target)})
    else:
        say(target)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog=example("evidence replay last"))(replay)
    app.command(epilog=example("evidence recompute last"))(recompute)
    app.command(epilog=example("evidence explain 1f0c9a2b last --tolerance 1e-9"))(explain)
    app.command(epilog=example("evidence export last --ro-crate --output crate"))(export)


def _print_lines(lines: Iterator[str]) -> None:
    """Print lines of which no character can write to the terminal."""
    for line in lines:
        say(one_line(line))
