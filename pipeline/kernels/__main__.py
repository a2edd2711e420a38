"""`python -m pipeline.kernels`: install the kernelspec of forked kernels, or serve kernels to other programs."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pipeline.kernels.client import ForkServer
from pipeline.kernels.protocol import DEFAULT_PRELOAD, SOCKET_VARIABLE, ForkServerError

NAME = "forked"


def kernelspec() -> dict[str, object]:
    """Return the kernelspec of forked kernels of this interpreter."""
    return {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (forked)",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {
            "debugger": True,
            "kernel_provisioner": {"provisioner_name": "forked-provisioner", "config": {}},
        },
    }


def install(name: str, prefix: str | None, *, user: bool) -> str:
    """Install the kernelspec; return its directory."""
    from jupyter_client.kernelspec import KernelSpecManager

    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "kernel.json").write_text(json.dumps(kernelspec(), indent=1) + "\n", encoding="utf-8")
        return str(KernelSpecManager().install_kernel_spec(directory, name, user=user, prefix=prefix))


def serve(preload: list[str], command: list[str]) -> int:
    """Run a command whose forked kernels all come from one server; return its exit code."""
    with ForkServer(preload) as server:
        server.wait_ready()
        environment = {**os.environ, SOCKET_VARIABLE: server.address}
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - the user's command


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, do one thing, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.kernels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    installing = commands.add_parser(
        "install", help="install the kernelspec, so that Jupyter and Quarto can start forked kernels"
    )
    installing.add_argument("--name", default=NAME)
    installing.add_argument("--prefix", default=sys.prefix, help="where to install to (default: this environment)")
    installing.add_argument("--user", action="store_true", help="install for this user instead")
    serving = commands.add_parser("serve", help="run a command with a fork server beside it, e.g. jupyter lab")
    serving.add_argument("--preload", nargs="*", default=list(DEFAULT_PRELOAD), metavar="MODULE")
    serving.add_argument("program", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    given = parser.parse_args(arguments)
    if given.command == "install":
        where = install(given.name, None if given.user else given.prefix, user=given.user)
        sys.stdout.write(f"{where}\n")
        return 0
    command = given.program[1:] if given.program[:1] == ["--"] else given.program
    if not command:
        serving.error("a command is needed, for instance: serve -- jupyter lab")
    try:
        return serve(given.preload, command)
    except ForkServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
