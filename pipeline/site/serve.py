"""Serve a built site on this machine, to look at it over HTTP."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import UsageError
from pipeline.site.layout import HEAD

LOOPBACK = "127.0.0.1"
HERE = (LOOPBACK, "localhost", "::1")
NOWHERE = "/.nowhere"


class _Handler(SimpleHTTPRequestHandler):
    """Answers with the files of the site and nothing else; neither logs nor lists folders; below a prefix if given.

    What begins with a dot is not of the site, nor is what a link leads to outside of it. A request that names another
    host is refused: a page elsewhere could have its name lead to this machine.
    """

    def __init__(self, *args: Any, prefix: str = "", **options: Any) -> None:
        self.prefix = prefix
        super().__init__(*args, **options)

    def send_head(self) -> Any:
        if _host(self.headers.get("Host", LOOPBACK)) not in HERE:
            self.send_error(421)
            return None
        return super().send_head()

    def translate_path(self, path: str) -> str:
        below = path.removeprefix(self.prefix) if path.startswith(f"{self.prefix}/") else NOWHERE
        found, root = super().translate_path(below), Path(self.directory).resolve()
        try:
            resolved = Path(found).resolve()
        except ValueError:  # NUL in the name
            return str(root / NOWHERE[1:])
        inside = resolved.relative_to(root).parts if resolved.is_relative_to(root) else (".",)
        return str(root / NOWHERE[1:]) if any(part.startswith(".") for part in inside) else found

    def list_directory(self, path: Any) -> None:
        del path
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        del format, args


def _host(named: str) -> str | None:
    """Return the name of a host without its port; None for what names none."""
    try:
        return urlsplit(f"//{named}").hostname
    except ValueError:  # as `[` is
        return None


def site_server(directory: Path, *, port: int = 0, prefix: str = "") -> ThreadingHTTPServer:
    """Return a server of a built site on this machine, not started yet; port 0 takes a free one. Raises UsageError."""
    if not (directory / HEAD).is_file():
        raise UsageError(f"There is no site in {directory}. `evidence site build` makes one.")
    handler = functools.partial(_Handler, directory=str(directory), prefix=prefix.rstrip("/"))
    try:
        return ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        raise UsageError(f"Port {port} cannot be used: {error.strerror}. Give another one with --port.") from None
