"""The commands around the website: build it, look at it, publish it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import CORES, EACH_CORE, AsJson, example
from pipeline.cli.plain import say, say_json
from pipeline.errors import UsageError

site = typer.Typer(
    name="site",
    help="The website over all runs.",
    epilog=example("evidence site build"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
PLACE = "Directory of the site, relative to the project's."
Built = Annotated[Path, typer.Option("--site", metavar="DIR", help=PLACE)]


@site.command(epilog=example("evidence site build --public --output public_site"))
def build(
    to: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help=PLACE)] = Path("_site"),
    public: Annotated[
        bool, typer.Option("--public", help="Leave out paths, addresses, names of hosts and users, environments.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Make everything again.")] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, show_default=EACH_CORE, help="Processes that make pages.")
    ] = CORES,
    as_json: AsJson = False,
) -> None:
    """Make or update the website of all runs: static files, which work on any host and without one."""
    from pipeline.cli import output
    from pipeline.settings import Settings
    from pipeline.site.build import build_site
    from pipeline.site.options import load_options
    from pipeline.sweep.site_pages import SweepPages

    settings = Settings.load()
    done = build_site(
        settings,
        settings.resolve(to),
        load_options(settings, public=public),
        force=force,
        processes=jobs,
        providers=[SweepPages(settings.results)],
        progress=lambda items, total: output.progress(items, total=total, quiet=as_json, doing="making pages"),
    )
    facts = {"runs": done.runs, "built": done.built, "written": done.written, "removed": done.removed}
    output.print_warnings([warning_of(run_id, names) for run_id, names in sorted(done.held.items())])
    if as_json:
        say_json({"site": str(done.output), **facts, "held": done.held})
        return
    say(done.output / "index.html")
    say(f"{done.runs} runs; {done.built} made, {done.written} files written, {done.removed} removed")


@site.command(epilog=example("evidence site serve --port 0"))
def serve(
    built: Built = Path("_site"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Serve a built website on this machine until Ctrl-C."""
    from pipeline.cli import output
    from pipeline.settings import Settings
    from pipeline.site.serve import site_server

    server = site_server(Settings.load().resolve(built), port=port)
    output.print_address(f"http://127.0.0.1:{server.server_address[1]}/", as_json=as_json)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


@site.command(epilog=example("evidence site publish --directory ../www"))
def publish(
    directory: Annotated[
        Path | None, typer.Option("--directory", help="Make this path a link to a copy of the site, in one step.")
    ] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="Commit the site to this branch, as gh-pages.")] = None,
    push: Annotated[bool, typer.Option("--push", help="With --branch: push it to origin.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --branch: also a site that was not built with --public.")
    ] = False,
    built: Built = Path("_site"),
    as_json: AsJson = False,
) -> None:
    """Publish a built website to a directory or to a git branch."""
    from dataclasses import asdict

    from pipeline.settings import Settings
    from pipeline.site.publish import publish_branch, publish_directory
    from pipeline.site.state import read_state

    if (directory is None) == (branch is None):
        raise UsageError("Give one of: --directory DIR, --branch NAME.")
    settings = Settings.load()
    source = settings.resolve(built)
    if directory is not None:
        done = publish_directory(source, settings.resolve(directory))
    else:
        done = publish_branch(source, settings.root, branch or "", push=push, full=full)
    if as_json:
        say_json(asdict(done))
        return
    kind = "public" if read_state(source).public else "full"
    copied = f"{done.files} files, {done.copied} copied" if done.changed else "up to date"
    say(f"{done.target}: {copied}; a {kind} site")


def warning_of(run_id: str, names: list[str]) -> str:
    """Return the warning about files that are not on the site."""
    return (
        f"The run {run_id} holds a secret in clear in {', '.join(names)}: the site does not show them. Take that "
        "secret out of use; `evidence render` makes the report without it."
    )


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(site)
