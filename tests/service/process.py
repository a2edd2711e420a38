"""A service in a process of its own, as people start it, and a client to talk to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx

SECONDS = 60.0  # until which a loaded machine has answered


@contextmanager
def serving(
    root: Path, *options: str, environ: Mapping[str, str] | None = None, kill: bool = False
) -> Iterator[httpx.Client]:
    """Start `evidence serve` in a project, and yield a client of it; it is told to stop at the end, or killed."""
    command = [str(Path(sys.executable).with_name("evidence")), "serve", "--port", "0", "--json", *options]
    given = {**os.environ, "EVIDENCE_ROOT": str(root), **(environ or {})}
    with (root / "service.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=root, env=given, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    try:
        assert process.stdout is not None
        said = "".join(iter(process.stdout.readline, "}\n")) + "}"
        with httpx.Client(base_url=json.loads(said)["url"], timeout=SECONDS) as client:
            yield client
    finally:
        (process.kill if kill else process.terminate)()
        code = process.wait(SECONDS)
        process.stdout.close()  # type: ignore[union-attr]
    assert kill or code == 0, "a service that is told to stop ends well"
