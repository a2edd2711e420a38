"""The commands around MLflow: deliver what is pending, rebuild a store, open the web interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, RunOrAll, example, one_or_all

if TYPE_CHECKING:
    from pipeline.settings import Settings


def sync(
    run_id: RunOrAll = None,
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
    from pipeline.cli.tracking_output import print_synced
    from pipeline.settings import Settings

    wanted = one_or_all(run_id, every=every)
    settings = Settings.load()
    ids = None if wanted is None else [_tracked_id(wanted, settings)]
    results = (tracking.rebuild if rebuild else tracking.sync_runs)(settings, ids, uri=uri)
    print_synced(results, as_json=as_json)
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
    as_json: AsJson = False,
) -> None:
    """Serve MLflow's web interface on this machine until Ctrl-C; of a store that is a server, say where it is.

    The address is printed once the interface answers. Runs are under Experiments.
    """
    from pipeline.cli import output
    from pipeline.masking import masked
    from pipeline.settings import Settings
    from pipeline.tracking.ui import serve_ui

    settings = Settings.load()
    store = uri or settings.default_tracking_uri
    if store.startswith(("http://", "https://")):
        output.print_text(masked(store), {"url": masked(store)}, to=None, as_json=as_json)
        return

    def ready(address: str) -> None:
        output.print_address(address if as_json else f"ready: {address}", as_json=as_json)

    raise typer.Exit(serve_ui(store, settings, port=port, ready=ready))


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog=example("evidence sync --all"))(sync)
    app.command(epilog=example("evidence ui --port 5001"))(ui)
