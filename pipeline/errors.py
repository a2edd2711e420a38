"""Every error this package raises on purpose.

    EvidenceError                     exit code 1
    ├── UsageError                    exit code 2: nothing was started, nothing is left behind; the request was wrong
    │   ├── SpecError                 the run spec: unknown key, wrong type, value out of bounds
    │   ├── DataError                 market data: missing, unreadable, breaks the data contract
    │   ├── StrategyError             unknown strategy, bad parameter, bad signals
    │   ├── NotebookError             no such notebook, no `parameters` cell, unknown parameter
    │   ├── QueryError                SQL that is wrong, or that does more than read the lake
    │   ├── RunNotFoundError          no run with that id in the results directory
    │   └── RunExistsError            a run directory with that id is there already
    ├── RunFailedError                exit code 1: the run started and did not finish
    │   ├── CellFailedError           a cell raised
    │   ├── CellTimeoutError          a cell or the whole notebook took longer than allowed
    │   ├── KernelDiedError           the kernel process ended
    │   ├── InputChangedError         an input is no longer what it was when the run began
    │   ├── ArtifactError             an artifact of the run directory's contract is missing or malformed
    │   │   └── ResultError           what `run.save` was given is no result, or one that cannot be true
    │   ├── StorageError              a file could not be written (disk full, permissions)
    │   └── UnexpectedError           an exception of any other class
    ├── VerificationError             exit code 3: a run, a bundle or the ledger does not match its seal
    ├── LakeError                     the lake is not there, cannot be read, or a limit ended a query
    ├── TrackingError                 the tracking store refused or could not be reached (also a RuntimeError)
    │   └── TrackingNotInstalledError MLflow is configured but not installed
    └── RenderError                   the report could not be rendered
        └── RendererNotFoundError     neither Quarto nor the embedded renderer is installed

A message says what was wrong, where, and what to do next; the facts sit on attributes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pipeline.masking import masked, masked_text


class EvidenceError(Exception):
    """Root of all errors raised on purpose; `exit_code` is what the command line exits with."""

    exit_code = 1


class UsageError(EvidenceError):
    """The request was wrong; nothing was started."""

    exit_code = 2


class SpecError(UsageError):
    """The run spec is invalid."""


class DataError(UsageError):
    """Market data is missing, unreadable or breaks the data contract."""


class DataWarning(UserWarning):
    """Market data that is used, but should be looked at: how it was read, gaps, leaps, rows that break an ordering."""


class SigningWarning(UserWarning):
    """A run that nobody signs where keys are named, or whose signature counts nowhere."""


class StrategyError(UsageError):
    """A strategy is unknown, a parameter is out of bounds, or its signals are malformed."""


class NotebookError(UsageError):
    """The input notebook cannot be executed as asked."""


class QueryError(UsageError):
    """SQL that is wrong, or that does more than read the lake."""


class RunNotFoundError(UsageError):
    """No run with that id."""


class RunExistsError(UsageError):
    """A run directory with that id is already there."""


class RunFailedError(EvidenceError):
    """The run started and did not finish."""


class CellFailedError(RunFailedError):
    """A cell of the notebook raised an exception.

    Attributes: `cell` (0-based index in the input notebook), `ename`, `evalue`, `traceback` (plain text).
    """

    def __init__(self, message: str, *, cell: int, ename: str, evalue: str, traceback: str) -> None:
        super().__init__(message)
        self.cell = cell
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback


class CellTimeoutError(RunFailedError):
    """A cell, or the notebook as a whole, took longer than allowed. Attribute: `cell` or None."""

    def __init__(self, message: str, *, cell: int | None = None) -> None:
        super().__init__(message)
        self.cell = cell


class KernelDiedError(RunFailedError):
    """The kernel process ended while the notebook was executing. Attribute: `cell` or None."""

    def __init__(self, message: str, *, cell: int | None = None) -> None:
        super().__init__(message)
        self.cell = cell


class InputChangedError(RunFailedError):
    """An input is no longer what it was when the run began."""


class ArtifactError(RunFailedError):
    """An artifact of the run directory's contract is missing or malformed."""


class ResultError(ArtifactError):
    """What `run.save` was given is no result that can be recorded: nothing of it was written."""


class StorageError(RunFailedError):
    """A file of the run directory could not be written."""


class UnexpectedError(RunFailedError):
    """An exception that is none of these ended the run. Attributes: `ename`, `evalue`, `traceback` (plain text)."""

    def __init__(self, message: str, *, ename: str, evalue: str, traceback: str) -> None:
        super().__init__(message)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback


class VerificationError(EvidenceError):
    """The evidence does not match its seal."""

    exit_code = 3


class LakeError(EvidenceError):
    """The lake is not there or cannot be read, or a limit ended a query."""


class TrackingError(EvidenceError, RuntimeError):
    """The tracking store refused a call or could not be reached."""


class TrackingNotInstalledError(TrackingError):
    """MLflow is configured but not installed."""


class RenderError(EvidenceError):
    """The report could not be rendered."""


class RendererNotFoundError(RenderError):
    """Neither Quarto nor the embedded renderer is installed."""


# Characters of an error that its message and the manifest hold.
LONGEST_MESSAGE, LONGEST_EVALUE, LONGEST_TRACEBACK = 1_000, 10_000, 50_000


def as_evidence_error(failure: BaseException, where: str) -> EvidenceError:
    """Return an exception of any class as one of these; `where` says in which stage it was raised."""
    if isinstance(failure, EvidenceError):
        return failure
    import traceback

    ename = type(failure).__name__
    try:
        evalue = str(failure)
    except Exception as error:  # noqa: BLE001 - whatever an exception's own __str__ raises
        evalue = f"<its text raised {type(error).__name__}>"
    what = shortened(f"{ename}: {evalue}" if evalue else ename, LONGEST_MESSAGE)
    text = "".join(traceback.format_exception(failure, limit=-20))
    return UnexpectedError(
        f"{what} ({where})",
        ename=ename,
        evalue=shortened(evalue, LONGEST_EVALUE),
        traceback=shortened(text, LONGEST_TRACEBACK),
    )


def shortened(text: str, limit: int) -> str:
    """Return the text, of a long one its begin and its end and how much was left out between."""
    if len(text) <= limit:
        return text
    head = limit // 2
    tail = limit - head
    return f"{text[:head]} [… {len(text) - limit:,} characters left out …] {text[-tail:]}"


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a sentence that names the valid name nearest to `name`, or all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return "Valid names: " + ", ".join(names) + "." if names else "No names are valid here."


def shown(value: object) -> str:
    """Return a value of a spec as a message quotes it: URLs without their secrets."""
    return repr(masked_text(masked(value))) if isinstance(value, str) else masked_text(repr(value))
