"""Servers that tests start for themselves, on free loopback ports."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres_server(*databases: str) -> Iterator[str]:
    """Start a PostgreSQL server with these databases; yields its URL, to which a database's name is added.

    The test is skipped where PostgreSQL is not installed.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(programs[-1]) if programs else shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="pg-") as place:
        shutil.chown(place, user)
        data, port = Path(place) / "data", free_port()
        control = str(Path(initdb).with_name("pg_ctl"))
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync=off"

        def run(*command: str) -> None:
            owner = {"user": user} if os.geteuid() == 0 else {}
            subprocess.run(command, check=True, capture_output=True, cwd=place, **owner)

        run(initdb, "-D", str(data), "-U", "tests", "--auth=trust", "-E", "UTF8", "--no-sync")
        run(control, "-D", str(data), "-o", options, "-l", f"{place}/log", "-w", "start")
        createdb = str(Path(initdb).with_name("createdb"))
        try:
            for name in databases:
                run(createdb, "-h", "127.0.0.1", "-p", str(port), "-U", "tests", name)
            yield f"postgresql+psycopg2://tests@127.0.0.1:{port}/"
        finally:
            run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
