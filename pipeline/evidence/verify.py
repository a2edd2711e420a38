"""Verify a run directory against its manifest: find every edited, added or missing file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipeline.digest import canonical_json, sha256_bytes, sha256_file
from pipeline.errors import VerificationError
from pipeline.evidence.manifest import (
    BUILD_TYPE,
    PREDICATE_TYPE,
    SCHEMA_VERSION,
    STATEMENT_TYPE,
    read_manifest,
)
from pipeline.rundir import RunDir


@dataclass(frozen=True)
class Problem:
    """One thing that does not match the seal: which file, what kind, said in a sentence."""

    path: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.message}"


@dataclass(frozen=True)
class Verification:
    """The outcome of verifying one run directory."""

    run_id: str
    problems: tuple[Problem, ...]
    files: int = 0
    manifest_sha256: str | None = None

    @property
    def ok(self) -> bool:
        """Say whether everything matches the seal."""
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raise VerificationError that names each problem; nothing when all is well."""
        if self.problems:
            lines = "\n".join(f"  - {problem}" for problem in self.problems)
            raise VerificationError(f"The run {self.run_id} does not match its seal:\n{lines}")


def verify_run(run: RunDir) -> Verification:
    """Compare a run directory with its manifest. Reads only; never raises for what it finds."""
    if not run.manifest.is_file() or run.manifest.is_symlink():
        text = "there is no manifest: the run was never sealed (still running, or interrupted)"
        return Verification(run.run_id, (Problem("manifest.json", "unsealed", text),))
    data = run.manifest.read_bytes()
    try:
        manifest = read_manifest(run)
        problems = [*_manifest_problems(run, manifest, data)]
        problems += _file_problems(run, manifest) if not problems else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problems = [Problem("manifest.json", "edited", f"it cannot be read as a manifest ({error})")]
        return Verification(run.run_id, tuple(problems))
    return Verification(run.run_id, tuple(problems), len(manifest["subject"]), sha256_bytes(data))


def _manifest_problems(run: RunDir, manifest: dict[str, Any], data: bytes) -> Iterator[Problem]:
    predicate = manifest["predicate"]
    version = predicate["evidence_run"]["schema_version"]
    types = (manifest["_type"], manifest["predicateType"], predicate["buildDefinition"]["buildType"])
    if types != (STATEMENT_TYPE, PREDICATE_TYPE, BUILD_TYPE) or version != SCHEMA_VERSION:
        yield Problem(
            "manifest.json", "unknown schema", f"{types}, version {version}; a newer evidence-chain may know it"
        )
    elif canonical_json(manifest) != data:
        yield Problem("manifest.json", "edited", "it is not in canonical form, so it was not written by the seal")
    elif (sealed_id := predicate["runDetails"]["metadata"]["invocationId"]) != run.run_id:
        yield Problem("manifest.json", "renamed", f"it seals the run {sealed_id}")


def _file_problems(run: RunDir, manifest: dict[str, Any]) -> Iterator[Problem]:
    sealed = {entry["name"]: entry for entry in manifest["subject"]}
    present = set(run.sealed_paths())
    for name in sorted(sealed.keys() - present):
        yield Problem(name, "missing", "the seal lists it, the directory does not have it")
    for name in sorted(present - sealed.keys()):
        yield Problem(name, "added", "the directory has it, the seal does not list it")
    for name in sorted(sealed.keys() & present):
        yield from _content_problem(run, name, sealed[name])


def _content_problem(run: RunDir, name: str, entry: dict[str, Any]) -> Iterator[Problem]:
    path = run.path / PurePosixPath(name)
    if path.is_symlink() or not path.is_file():
        yield Problem(name, "edited", "it is not a regular file any more")
        return
    size, sealed_size = path.stat().st_size, entry["annotations"]["size"]
    if size != sealed_size:
        yield Problem(name, "edited", f"{size} bytes, the seal says {sealed_size}")
    elif sha256_file(path) != entry["digest"]["sha256"]:
        yield Problem(name, "edited", "its SHA-256 is not the sealed one")
