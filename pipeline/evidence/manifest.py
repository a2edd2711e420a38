"""The manifest: an in-toto Statement v1 with SLSA provenance v1 over every file of a run directory.

Subjects are the files (name, SHA-256, size); the predicate says what the run was asked to do
(`externalParameters`), what it was made from (`resolvedDependencies`) and how it went (`runDetails`).
What SLSA has no field for is under `evidence_run`, as its rules for extension fields ask.
Specifications: https://github.com/in-toto/attestation (Statement v1), https://slsa.dev/spec/v1.0/provenance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.digest import canonical_json, sha256_bytes, sha256_file
from pipeline.errors import ArtifactError
from pipeline.evidence.provenance import Environment, GitState
from pipeline.evidence.strict_json import LONGEST
from pipeline.file_names import is_plain_name, one_form
from pipeline.files import read_json, write_atomic
from pipeline.rundir import RunDir

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
RUN = "urn:evidence-chain:backtest-run:v1"
SWEEP = "urn:evidence-chain:sweep:v1"
BUILD_TYPES = frozenset({RUN, SWEEP})
BUILDER = "urn:evidence-chain:builder:"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Input:
    """One thing a run was made from: a name, where it came from, its digest."""

    name: str
    uri: str
    digest: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return an in-toto ResourceDescriptor."""
        values = {"name": self.name, "uri": self.uri, "digest": self.digest, "annotations": self.annotations}
        return {key: value for key, value in values.items() if value}


@dataclass(frozen=True)
class Outcome:
    """How a run went: status, times, the error of a failed run, warnings, seconds spent in each stage.

    `masked` names the secrets that the evidence holds as `***`; `boundary` lists what of the result was checked, what
    is taken as given, and what was not examined.
    """

    status: str
    started_at: str
    finished_at: str
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    tracking: dict[str, Any] | None = None
    masked: tuple[str, ...] = ()
    boundary: Mapping[str, list[str]] | None = None


def collect_inputs(
    *,
    files: Mapping[str, tuple[str, str]],
    git: GitState | None,
    environment: Environment,
    modules: Mapping[str, str],
    locks: Mapping[str, str],
    read: Sequence[Input] = (),
) -> list[Input]:
    """List what a run was made from: `files` (name to URI and SHA-256), what it `read` besides, git, modules, lock
    files, packages.
    """
    inputs = [Input(name, uri, {"sha256": digest}) for name, (uri, digest) in files.items()]
    inputs += read
    if git is not None:
        dirty = {"dirty": git.dirty, "dirty_sha256": git.dirty_sha256}
        inputs.append(Input("git", "git+file:.", {"gitCommit": git.commit}, dirty))
    inputs += [Input(f"lock:{name}", name, {"sha256": digest}) for name, digest in locks.items()]
    inputs += [Input(f"module:{n}", f"python:{n}", {"sha256": d}) for n, d in modules.items()]
    inputs += [Input(f"package:{n}", f"pkg:pypi/{n}@{v}") for n, v in environment.packages.items()]
    return inputs


def build_manifest(
    run: RunDir,
    *,
    origin: str,
    spec: Mapping[str, Any],
    overrides: Mapping[str, Any],
    seed: int,
    inputs: list[Input],
    environment: Environment,
    outcome: Outcome,
    build_type: str = RUN,
) -> dict[str, Any]:
    """Describe the run directory as it is now; `build_type` says what was asked for: a run, or a sweep.

    Raises ArtifactError for anything but regular files, and for names that verification would refuse.
    """
    platform = {key: value for key, value in environment.to_dict().items() if key != "packages"}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(run, name) for name in _told_apart(run)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": build_type,
                "externalParameters": {"spec": spec, "overrides": overrides},
                "internalParameters": {"seed": seed, "platform": platform},
                "resolvedDependencies": [item.to_dict() for item in inputs],
            },
            "runDetails": {
                "builder": {"id": BUILDER + origin, "version": {"evidence-chain": package_version()}},
                "metadata": {
                    "invocationId": run.run_id,
                    "startedOn": outcome.started_at,
                    "finishedOn": outcome.finished_at,
                },
            },
            "evidence_run": {
                "schema_version": SCHEMA_VERSION,
                "status": outcome.status,
                "error": outcome.error,
                "warnings": list(outcome.warnings),
                "stages": outcome.stages,
                "tracking": outcome.tracking,
                **({"masked": list(outcome.masked)} if outcome.masked else {}),
                **({"boundary": dict(outcome.boundary)} if outcome.boundary else {}),
            },
        },
    }


def write_manifest(run: RunDir, manifest: Mapping[str, Any]) -> str:
    """Write the seal, canonical JSON, atomically; return its SHA-256. Raises ArtifactError when it is too long."""
    data = canonical_json(manifest)
    if len(data) > LONGEST:
        files = len(manifest["subject"])
        raise ArtifactError(f"The seal of {files:,} files would be {len(data):,} bytes long; {LONGEST:,} are the most.")
    write_atomic(run.manifest, data)
    return sha256_bytes(data)


def read_manifest(run: RunDir) -> dict[str, Any]:
    """Read the seal without checking it; raises ValueError when it is not a JSON object."""
    manifest: dict[str, Any] = read_json(run.manifest)
    if not isinstance(manifest, dict):
        raise ValueError("the manifest is not a JSON object")  # noqa: TRY004 - a malformed file, not a wrong argument
    return manifest


def package_version() -> str:
    """Return the version of this package."""
    from importlib.metadata import version

    return version("evidence-chain")


def _told_apart(run: RunDir) -> list[str]:
    """Return the paths to seal; raises ArtifactError for two that are one file on systems that ignore case."""
    names = run.sealed_paths()
    forms: dict[str, str] = {}
    for name in names:
        if (other := forms.setdefault(one_form(name), name)) != name:
            raise ArtifactError(
                f"The run left {other!r} and {name!r} in {run.path}, which are one file on macOS and Windows. "
                "Have the notebook give them names that differ in more than case."
            )
    return names


def _subject(run: RunDir, name: str) -> dict[str, Any]:
    path = run.path / name
    if not is_plain_name(name):
        raise ArtifactError(
            f"The run left a file named {name!r} in {run.path}: on some systems that leads elsewhere, or it is not "
            "UTF-8. It cannot be sealed: have the notebook name it without a backslash or a colon in second place."
        )
    if path.is_symlink() or not path.is_file():
        raise ArtifactError(f"{path} is not a regular file; a run directory holds only regular files.")
    size = path.stat().st_size
    return {"name": name, "digest": {"sha256": sha256_file(path)}, "annotations": {"size": size}}
