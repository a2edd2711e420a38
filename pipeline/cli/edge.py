"""Where the command line meets the machine: standard streams, interruptions, and the sentences that errors become."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, NoReturn, TextIO, cast

from pipeline.cli.interruption import INTERRUPTED, Interrupted, end_as_interrupted
from pipeline.cli.plain import say
from pipeline.errors import EvidenceError, UsageError

SHOW_TRACEBACK = "EVIDENCE_TRACEBACK"
LOG = "EVIDENCE_LOG"
LONGEST_WORD = 300
NO_ANSWER = "There is nobody to ask: standard input has ended. A passphrase can be given in EVIDENCE_KEY_PASSPHRASE."
ADVICE = {
    errno.ENOSPC: "Free space on that disk.",
    errno.EDQUOT: "Free space on that disk.",
    errno.EACCES: "Check its permissions.",
    errno.EPERM: "Check its permissions.",
    errno.EROFS: "Choose a place that can be written to.",
    errno.ENAMETOOLONG: "Give a shorter name.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path: a part of it is a file.",
    errno.EISDIR: "Give a file.",
    errno.EADDRINUSE: "Another program uses that port: choose another.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`), or use fewer --jobs.",
}


@dataclass(frozen=True)
class Failure:
    """What ended a command: the name of the error's class, a sentence, the exit code."""

    kind: str
    message: str
    exit_code: int


def main() -> NoReturn:
    """Run the command line; the console script `evidence`."""
    try:
        end_as_interrupted()
        _open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            cast("TextIOWrapper", stream).reconfigure(errors="backslashreplace")
        sys.stdout, sys.stderr = cast("TextIO", Watched(sys.stdout)), cast("TextIO", Lasting(sys.stderr))
        code = run_command(sys.argv[1:])
        _send_the_rest()
        sys.exit(code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run_command(arguments: Sequence[str]) -> int:
    """Execute one command and return its exit code; an error is a sentence on standard error, never a traceback.

    With `--json` it is also the JSON document on standard output: `{"error": {"kind": ..., "message": ...}}`.
    """
    try:
        from pipeline.cli.app import app

        if os.environ.get(LOG):
            from pipeline.telemetry.terminal import listen

            listen(os.environ)
        code = app(list(arguments), prog_name="evidence", standalone_mode=False)
        _check_output()
    except SystemExit as ended:  # rich's, when nobody reads standard output any more
        return ended.code if isinstance(ended.code, int) else 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost edge
        return _tell(error, as_json="--json" in arguments)
    return code if isinstance(code, int) else 0


def _send_the_rest() -> None:
    """Send what is left to export, while the interpreter can still load what that takes."""
    loaded = sys.modules.get("pipeline.telemetry.exporting")
    if loaded is not None:
        loaded.flush()


def _check_output() -> None:
    """Raise why standard output could not be written, also where a library let that pass."""
    sys.stdout.flush()
    unwritten: OSError | None = getattr(sys.stdout, "error", None)
    if unwritten is not None:
        raise unwritten


def describe(error: BaseException) -> Failure:
    """Return what is said of an error: our own as they are, those of the machine in a sentence, others as a fault."""
    kind, cause = type(error).__name__, error.__context__
    if isinstance(error, EvidenceError):
        return Failure(kind, str(error), error.exit_code)
    # pydantic's compiled code makes an error of its own of an interruption, and keeps but its name.
    wrapped = type(error).__name__ == "SchemaError" and "KeyboardInterrupt" in str(error)
    if wrapped or isinstance(error, KeyboardInterrupt) or isinstance(cause, KeyboardInterrupt):
        return Failure(Interrupted.__name__, "Interrupted.", INTERRUPTED)
    if isinstance(cause, EOFError):
        return Failure(UsageError.__name__, NO_ANSWER, UsageError.exit_code)
    if hasattr(error, "format_message"):  # the parser's
        return Failure(UsageError.__name__, error.format_message(), UsageError.exit_code)
    if isinstance(error, OSError):
        return Failure(kind, _of_the_machine(error), EvidenceError.exit_code)
    return Failure(kind, _of_this_program(error), EvidenceError.exit_code)


def _of_this_program(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "There is not enough memory for this. Use fewer --jobs or less data."
    what = f"{type(error).__name__}: {error}".strip().removesuffix(":")
    return f"{what}\nThis is a fault of evidence, not of the request; {SHOW_TRACEBACK}=1 shows where it happened."


def _of_the_machine(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where = f"{' -> '.join(places)}: " if places else ""
    return f"{where}{what}. {ADVICE.get(error.errno or 0, '')}".strip()


def _tell(error: BaseException, *, as_json: bool) -> int:
    if os.environ.get(SHOW_TRACEBACK):
        import traceback

        traceback.print_exception(error)
    unwritten: OSError | None = getattr(sys.stdout, "error", None)
    if isinstance(unwritten, BrokenPipeError):  # as under `| head`: nobody reads on
        return EvidenceError.exit_code
    failure = describe(error)
    if unwritten is not None:
        failure = Failure(type(unwritten).__name__, f"Standard output: {_of_the_machine(unwritten)}", 1)
    if hasattr(error, "show"):  # the parser's: says how the command is used, too
        error.show()
    else:
        said = failure.message if failure.exit_code == INTERRUPTED else f"Error: {failure.message}"
        say(_shortened(said), file=sys.stderr)
    if as_json and unwritten is None:
        import json

        with contextlib.suppress(OSError):
            print(json.dumps({"error": {"kind": failure.kind, "message": failure.message}}, indent=2), flush=True)
    return failure.exit_code


def _shortened(text: str) -> str:
    """Return a text whose overlong words, as a path of 5,000 characters, have their middle left out."""
    if len(text) <= LONGEST_WORD:
        return text
    half = LONGEST_WORD // 2
    words = (word if len(word) <= LONGEST_WORD else f"{word[:half]}...{word[-half:]}" for word in text.split(" "))
    return " ".join(words)


def _open_closed_streams() -> None:
    """Let a standard stream that was closed (`>&-`) go nowhere, so that no file of ours takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number and not _is_open(number):
                os.dup2(opened, number)
            setattr(sys, name, open(opened, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class Stream:
    """A text stream that stands before another one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Lasting(Stream):
    """Standard error that goes on when nobody can read it any more: a closed terminal must not end a run."""

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with contextlib.suppress(OSError):
            self._stream.flush()


class Watched(Stream):
    """Standard output that remembers why it could not be written; from then on it goes nowhere."""

    error: OSError | None = None

    def write(self, text: str) -> int:
        """Write, as the stream does."""
        with self._watched():
            return self._stream.write(text)

    def flush(self) -> None:
        """Flush, as the stream does."""
        with self._watched():
            self._stream.flush()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise
