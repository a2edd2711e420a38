"""Serve a built site on this machine, to look at it over HTTP."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.site.layout import HEAD

LOOPBACK = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Answers with files; neither logs nor lists folders; below a prefix when one is given."""

    def __init__(self, *args: Any, prefix: str = "", **options: Any) -> None:
        self.prefix = prefix
        super().__init__(*args, **options)

    def translate_path(self, path: str) -> str:
        below = path.removeprefix(self.prefix) if path.startswith(f"{self.prefix}/") else "/.nowhere"
        return super().translate_path(below)

    def list_directory(self, path: Any) -> None:
        del path
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        del format, args


def site_server(directory: Path, *, port: int = 0, prefix: str = "") -> ThreadingHTTPServer:
    """Return a server of a built site on this machine, not started yet; port 0 takes a free one. Raises UsageError."""
    if not (directory / HEAD).is_file():
        raise UsageError(f"There is no site in {directory}. `evidence site build` makes one.")
    handler = functools.partial(_Handler, directory=str(directory), prefix=prefix.rstrip("/"))
    try:
        return ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError as error:
        raise UsageError(f"Port {port} cannot be used: {error.strerror}. Give another one with --port.") from None
