"""The commands `replay`, `explain` and `export`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

DIFFERENT = 3

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="A run_id, the start of one, or `last`.")]
Tolerance = Annotated[
    float | None,
    typer.Option(
        metavar="REL", help="Let numbers differ by this much of the larger one; images are then not compared."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def replay(
    run_ids: Annotated[
        list[str], typer.Argument(metavar="RUN_ID", help="A run_id, the start of one, or `last`; with --explain two.")
    ],
    explain_two: Annotated[
        bool, typer.Option("--explain", help="Execute nothing: compare two runs, as `evidence explain A B`.")
    ] = False,
    tolerance: Tolerance = None,
    search: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Look here too for the data, by its digest."),
    ] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Remove the replay's run directory afterwards.")] = False,
    as_json: AsJson = False,
) -> None:
    """Execute a run again from its recorded inputs and compare. Exit codes: 0 equal, 3 different."""
    from pipeline.cli import output
    from pipeline.errors import UsageError
    from pipeline.evidence.trust import project_trust
    from pipeline.replay import replay_run
    from pipeline.run import load_run
    from pipeline.settings import Settings

    if len(run_ids) != (2 if explain_two else 1):
        raise UsageError("Give one RUN_ID to replay, or --explain and two runs to compare.")
    if explain_two:
        explain(run_ids[0], run_ids[1], tolerance=tolerance, as_json=as_json)
        return
    settings = Settings.load()
    run = load_run(run_ids[0], settings=settings)
    with output.stages(quiet=as_json) as progress:
        result = replay_run(
            run,
            settings=settings,
            tolerance=tolerance,
            search=tuple(search or ()),
            discard=discard,
            trust=project_trust(settings),
            progress=progress,
        )
    if as_json:
        output.print_json(result.to_dict())
    else:
        _print_lines(result.lines())
    if not result.equal:
        raise typer.Exit(DIFFERENT)


def explain(
    before: Annotated[str, typer.Argument(metavar="A", help="A run_id, the start of one, or `last`.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The run to compare it with.")],
    tolerance: Tolerance = None,
    as_json: AsJson = False,
) -> None:
    """Say why two runs differ: the first differing input, then by how much. Exit codes: 0 equal, 3 different."""
    from pipeline.cli import output
    from pipeline.replay import explain as explain_runs
    from pipeline.run import load_run
    from pipeline.settings import Settings

    settings = Settings.load()
    runs = load_run(before, settings=settings), load_run(after, settings=settings)
    explanation = explain_runs(*runs, tolerance=tolerance)
    if as_json:
        output.print_json(explanation.to_dict())
    else:
        _print_lines(explanation.lines())
    if not explanation.equal:
        raise typer.Exit(DIFFERENT)


def export(
    run_id: RunId = "last",
    ro_crate: Annotated[bool, typer.Option("--ro-crate", help="As a Process Run Crate (RO-Crate 1.1).")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="A new directory; default: <run_id>-crate.")
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
    target = write_crate(run.dir, out or Path(f"{run.run_id}-crate"), credit)
    if as_json:
        output.print_json({"run_id": run.run_id, "directory": str(target)})
    else:
        print(target)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (replay, explain, export):
        app.command()(command)


def _print_lines(lines: Iterator[str]) -> None:
    """Print lines of which no character can write to the terminal."""
    for line in lines:
        print("".join(char if char.isprintable() else "�" for char in line))
