"""Check a public bundle: the seal is not in it, so its files are what the signed list says, and no more is known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from pipeline.evidence.bundle import PUBLIC_REPORT
from pipeline.evidence.problem import Problem, Verification
from pipeline.evidence.verify import SHA256, STATUSES
from pipeline.layout import MANIFEST

TIME = re.compile(r"\d{4}-\d\d-\d\dT")


def verify_public(run_id: str, predicate: dict[str, Any], listed: Collection[str], statement: str) -> Verification:
    """Check what a public bundle says of its run against the names of its files; `statement` is the list's name.

    Reads nothing; raises ValueError, KeyError, TypeError or AttributeError for what is no list of ours.
    """
    left_out = left_out_in(predicate)
    shown = sorted(name for name in listed if name.startswith(f"{run_id}/"))
    problems = [Problem(statement, "edited", text) for text in _contradictions(run_id, predicate, listed)]
    sealed = predicate["sealed"]
    whose = f"That {len(shown)} files are the run's ({sealed['status']}) as they were sealed"
    names = ", ".join(str(item["name"]) for item in left_out)
    notes = [
        f"public: the seal is left out. {whose} is the word of whoever signed the list",
        f"left out (README.txt says why, and the SHA-256 of each): {names}",
    ]
    if PUBLIC_REPORT in listed:
        notes.append(f"{PUBLIC_REPORT} was made for this bundle: that it is of these files is their word, too")
    return Verification(run_id, tuple(problems), len(shown), predicate["manifest_sha256"], tuple(notes))


def left_out_in(predicate: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return what a bundle's list says was left out: name, why, sha256 or None; raises what `verify_public` does."""
    found = tuple(predicate.get("left_out", ()))
    for item in found:
        digest = item["sha256"]
        if not (isinstance(item["name"], str) and isinstance(item["why"], str)):
            raise ValueError("what was left out has no name")  # noqa: TRY004 - malformed data, not a wrong argument
        if digest is not None and not SHA256.fullmatch(digest):
            raise ValueError("what was left out has no SHA-256")
    return found


def ended(predicate: dict[str, Any]) -> str:
    """Return when the run ended, as a public bundle says; raises ValueError, KeyError, TypeError."""
    text: str = predicate["sealed"]["finished_on"]
    if not TIME.match(text):
        raise ValueError("it does not say when the run ended")
    return text


def _contradictions(run_id: str, predicate: dict[str, Any], listed: Collection[str]) -> Iterator[str]:
    left_out = {item["name"]: item["sha256"] for item in left_out_in(predicate)}
    if left_out.get(MANIFEST) != predicate["manifest_sha256"] or left_out.get(MANIFEST) is None:
        yield "it does not say which seal was left out"
    for name in left_out:
        if f"{run_id}/{name}" in listed:
            yield f"it lists {name} and says that it was left out"
    if predicate["sealed"]["status"] not in STATUSES:
        yield f"its status is {str(predicate['sealed']['status'])[:60]!r}, not {' or '.join(STATUSES)}"
    ended(predicate)
