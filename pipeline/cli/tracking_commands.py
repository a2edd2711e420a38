"""The commands around MLflow: deliver what is pending, rebuild a store, open the web interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def sync(
    run_id: Annotated[str, typer.Argument(metavar="[RUN_ID]", help="A run_id, the start of one, or `last`.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All runs that have something pending.")] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Recreate the runs in an empty store, from results/ alone.")
    ] = False,
    uri: Annotated[str | None, typer.Option(help="Deliver to this store instead of the run's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver to MLflow what is still pending.

    With --rebuild, recreate the runs of a lost store from results/.
    """
    from pipeline import tracking
    from pipeline.cli import output
    from pipeline.settings import Settings

    if bool(run_id) == every:
        raise UsageError("Give either a RUN_ID (or `last`) or --all.")
    settings = Settings.load()
    ids = None if every else [_tracked_id(run_id, settings)]
    results = (tracking.rebuild if rebuild else tracking.sync_runs)(settings, ids, uri=uri)
    output.print_synced(results, as_json=as_json)
    if any(result.error for result in results):
        raise typer.Exit(1)


def _tracked_id(wanted: str, settings: Settings) -> str:
    """Return the id of a run, or of what a script's tracker left in the outbox; raises RunNotFoundError."""
    from pipeline import tracking
    from pipeline.errors import RunNotFoundError
    from pipeline.run import load_run

    try:
        return load_run(wanted, settings=settings).run_id
    except RunNotFoundError:
        found = [run_id for run_id in tracking.all_tracked(settings.results) if run_id.startswith(wanted.lower())]
        if len(found) != 1:
            raise
        return found[0]


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    uri: Annotated[str | None, typer.Option(help="Show this store instead of the project's.")] = None,
) -> None:
    """Serve MLflow's web interface on this machine."""
    from pipeline.settings import Settings
    from pipeline.tracking.ui import serve_ui

    settings = Settings.load()
    store = uri or settings.default_tracking_uri
    if store.startswith(("http://", "https://")):
        print(store)
        return
    print(f"http://127.0.0.1:{port}  (Ctrl-C ends it)")
    raise typer.Exit(serve_ui(store, settings, port=port))
