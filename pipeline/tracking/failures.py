"""Whose fault a failed MLflow call is: the store's, or that of whoever made the call."""

from __future__ import annotations

from pipeline.errors import TrackingError
from pipeline.masking import masked_text
from pipeline.tracking import limits

REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
MISTAKES = (TypeError, ValueError, LookupError, AttributeError)  # of Python: no store raises them


def is_mistake(error: Exception, tracking_uri: str, run_id: str, *, reads: bool) -> bool:
    """Return whether an error is the caller's: what was asked for is wrong, and the store still has the run.

    A file that cannot be read back (`reads`) is the caller's, too, as long as the run itself can be.
    """
    if isinstance(error, MISTAKES):
        return True
    refused = not isinstance(error, (OSError, TrackingError)) and getattr(error, "error_code", "") in REFUSALS
    return (reads or refused) and has_run(tracking_uri, run_id)


def has_run(tracking_uri: str, run_id: str) -> bool:
    """Return whether a store is there and has a run that takes what is logged."""
    from mlflow import MlflowClient

    try:
        with limits.limited(tracking_uri):
            limits.probe(tracking_uri)
            found = MlflowClient(tracking_uri=tracking_uri).get_run(run_id)
    except Exception:  # noqa: BLE001 - whatever it is: the run cannot be reached
        return False
    return bool(found.info.lifecycle_stage == "active")


def reason(error: Exception, length: int) -> str:
    """Return what an error says in one line of at most `length` characters, secrets masked; else its class.

    SQLAlchemy puts a sentence about itself before the database's own.
    """
    lines = (line.strip() for line in str(error).splitlines())
    said = next((line for line in lines if line and not line.startswith("(raised as a result of")), "")
    return masked_text(said)[:length] or type(error).__name__
