"""The commands of `evidence`, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
import typer.main
from typer.core import TyperGroup

from pipeline.cli import (
    evidence_commands,
    key_commands,
    lake_commands,
    replay_commands,
    retention_commands,
    run_commands,
    serve_commands,
    site_commands,
    sweep_commands,
    trace_commands,
    tracking_commands,
)
from pipeline.cli.interruption import Interrupted
from pipeline.cli.options import example

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EXIT_CODES = (
    "Exit codes: 0 ok, 1 the run (or the command) failed, 2 wrong usage (nothing was started), 3 verification failed "
    "or runs differ, 4 consistent but signed by nobody named, 130 interrupted."
)


class Commands(TyperGroup):
    """A group of commands whose interruption keeps what was noted about it."""

    def invoke(self, ctx: Any) -> Any:
        """Execute the command that was asked for."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            notes: Iterable[str] = getattr(interruption, "__notes__", ())
            raise Interrupted(" ".join(["Interrupted.", *notes])) from interruption


app = typer.Typer(
    name="evidence",
    cls=Commands,
    help="Turn a trading backtest into evidence another person can trust.",
    epilog=f"{EXIT_CODES}\n\n{example('evidence run --config config/demo.toml')}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run_commands.register(app)
tracking_commands.register(app)
evidence_commands.register(app)
trace_commands.register(app)
replay_commands.register(app)
sweep_commands.register(app)
retention_commands.register(app)
key_commands.register(app)
site_commands.register(app)
serve_commands.register(app)
lake_commands.register(app)


def every_command() -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name, as `keys init`."""
    yield from _below(typer.main.get_command(app), "")


def _below(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _below(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command
