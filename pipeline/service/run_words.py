"""What is answered about runs of this project."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from pipeline.evidence.problem import Verification
from pipeline.service.words import Answer


class Links(Answer):
    """Where the rest of a run is; None what it has not."""

    record: str
    equity: str
    trades: str
    verify: str
    manifest: str | None
    report: str | None
    notebook: str | None


class RunShown(Answer):
    """A run: the fields of `evidence list --json` (of one run those of `evidence show --json`) and links."""

    model_config = ConfigDict(frozen=True, extra="allow")

    run_id: str
    status: str = Field(examples=["FINISHED"])
    name: str
    links: Links


class RunPage(Answer):
    """Some runs; `total` is how many fulfil the conditions."""

    runs: list[RunShown]
    total: int


class Table(Answer):
    """Some rows of a table; `total` is how many there are. Times are ISO-8601 UTC; null is unknown."""

    columns: list[str]
    rows: list[list[Any]]
    total: int


class ProblemFound(Answer):
    """Something that does not match the seal."""

    path: str
    kind: str
    message: str


class Verified(Answer):
    """Whether a run is as it was sealed; `trusted` says that a key of the project's trust file signed it."""

    run_id: str
    ok: bool
    verdict: str
    problems: list[ProblemFound]
    notes: list[str]
    files: int
    manifest_sha256: str | None
    signer: str | None
    trusted: bool

    @classmethod
    def of(cls, found: Verification) -> Verified:
        """Return what was found."""
        return cls(
            run_id=found.run_id,
            ok=found.ok,
            verdict=found.verdict,
            problems=[ProblemFound(path=one.path, kind=one.kind, message=one.message) for one in found.problems],
            notes=list(found.notes),
            files=found.files,
            manifest_sha256=found.manifest_sha256,
            signer=found.signer,
            trusted=found.trusted,
        )
