"""What a run leaves in the ledger when it starts, is sealed or killed, and when its report is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.digest import sha256_file
from pipeline.evidence import events
from pipeline.evidence.dsse import sign_manifest
from pipeline.evidence.ledger import RUN_KILLED, Entry, Event, append, head
from pipeline.evidence.statement import write_report_statement
from pipeline.evidence.trial import Scope
from pipeline.rundir import RunDir

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer


def record_start(run: RunDir, signer: Signer | None, *, scope: Scope, origin: str) -> Entry:
    """Count the run as a trial of its scope, whatever becomes of it; raises StorageError."""
    event = events.started(
        run, strategy=scope.strategy or "", data_sha256=scope.data_sha256, origin=origin, scope=scope
    )
    return append(run.ledger, event, signer)


def record_seal(run: RunDir, signer: Signer | None) -> Entry:
    """Sign the manifest, when somebody signs, and enter the seal into the ledger; raises StorageError."""
    sign_manifest(run, signer)
    return append(run.ledger, events.sealed(run), signer)


def record_kill(run: RunDir, signer: Signer | None) -> Entry:
    """Enter that a run was interrupted before its seal."""
    return append(run.ledger, Event(RUN_KILLED, run.run_id, sha256_file(run.config_json)), signer)


def record_report(run: RunDir, signer: Signer | None) -> Entry:
    """Make the statement of the report as it is now, and enter it into the ledger; raises StorageError."""
    write_report_statement(run, signer)
    return append(run.ledger, events.rendered(run), signer)


def checkpoint(run: RunDir) -> str | None:
    """Return the ledger's last entry as `seq:digest`: kept elsewhere, it shows when the ledger was rolled back."""
    last = head(run.ledger)
    return None if last is None else str(last)
