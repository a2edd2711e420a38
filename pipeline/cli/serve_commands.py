"""The commands of the service: serve it, and who may use it."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, example
from pipeline.cli.plain import one_line, say, say_json

if TYPE_CHECKING:
    from pipeline.service.tokens import TokenFile

tokens = typer.Typer(
    name="tokens",
    no_args_is_help=True,
    help="Who may use the service.",
    epilog=example("evidence tokens create --name ci --scope write"),
    rich_markup_mode=None,
)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen at; default 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one; default 8080.")
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Ask for no tokens; on this machine only.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Write a line for each request to stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Serve runs, MLflow and Optuna over HTTP until Ctrl-C, as config/service.toml says."""
    from pipeline.cli import output
    from pipeline.service.server import require_service
    from pipeline.service.server import serve as serve_api
    from pipeline.service.settings import ServiceSettings
    from pipeline.settings import Settings

    settings = Settings.load()
    require_service()
    given = {"host": host, "port": port, "auth": False if no_auth else None}
    service = ServiceSettings.load(settings, given)
    if log:
        _log_requests()
    with contextlib.suppress(KeyboardInterrupt):
        serve_api(settings, service, started=lambda url: output.print_address(url, as_json=as_json))


@tokens.command(epilog=example("evidence tokens create --name ci --scope read --days 90"))
def create(
    name: Annotated[str, typer.Option(help="Who uses it.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, write or admin; default: read.")] = None,
    days: Annotated[float | None, typer.Option(help="After how many days it is of no use; default: never.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it: it is kept nowhere, so it cannot be shown again."""
    token, text = _file().create(name, scope or ["read"], days)
    if as_json:
        say_json({**token.shown(), "token": text})
        return
    say(text)
    say(f"This is token {token.token_id}, good for {', '.join(token.scopes)}. Keep it now.", file=sys.stderr)


@tokens.command("list", epilog=example("evidence tokens list"))
def list_(as_json: AsJson = False) -> None:
    """List the tokens: ids, names, what they are good for, until when."""
    found = _file().all()
    if as_json:
        say_json([token.shown() for token in found])
        return
    if not found:
        say("There are no tokens. `evidence tokens create` makes one.", file=sys.stderr)
    for token in found:
        until = token.expires_at or "for ever"
        state = "  expired" if token.shown()["expired"] else ""
        say(f"{token.token_id}  {','.join(token.scopes):<12}  {until}  {one_line(token.name)}{state}")


@tokens.command(epilog=example("evidence tokens revoke ci"))
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The id of a token, or its name.")],
    as_json: AsJson = False,
) -> None:
    """Take a token out of use, at once."""
    revoked = _file().revoke(token)
    if as_json:
        say_json(revoked.shown())
        return
    say(f"{revoked.token_id}  {one_line(revoked.name)} is of no use any more")


def _file() -> TokenFile:
    from pipeline.service.settings import Place, ServiceSettings
    from pipeline.service.tokens import TokenFile
    from pipeline.settings import Settings

    settings = Settings.load()
    return TokenFile(Place.of(settings, ServiceSettings.load(settings)).make().tokens)


def _log_requests() -> None:
    """Have each request in a line on stderr; who calls says which by the id that it is answered with."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger("pipeline.service").addHandler(handler)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog=example("evidence serve --no-auth --port 8002"))(serve)
    app.add_typer(tokens)
