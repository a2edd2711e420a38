"""What is known of one run, read from its seal: typed, secrets masked, anything of another form refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pipeline.evidence.manifest import BUILDER
from pipeline.masking import mask_shown
from pipeline.results.boundary import Boundary

UNREADABLE = "UNREADABLE"
READ = ("input:", "frame:", "network:")  # what a run read besides what its spec names

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class RunError:
    """Why a run did not finish; `cell` counts from 0, and with what follows it is None unless a cell failed."""

    kind: str
    message: str
    cell: int | None = None
    ename: str | None = None
    evalue: str | None = None
    traceback: str | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Read an error as a seal has it, secrets masked; raises KeyError or TypeError for another form."""
        shown = mask_shown(values)
        found = cls(shown["kind"], shown["message"], *(shown.get(name) for name in ("cell", *CELL_TEXTS)))
        _require(isinstance(text, str) for text in (found.kind, found.message))
        _require(isinstance(text, str | None) for text in (found.ename, found.evalue, found.traceback))
        _require([isinstance(found.cell, int | None)])
        return found

    def to_dict(self) -> dict[str, Json]:
        """Return the error as JSON values."""
        return asdict(self)


CELL_TEXTS = ("ename", "evalue", "traceback")


@dataclass(frozen=True)
class Source:
    """Something that the spec names: where it came from, and the SHA-256 of its bytes."""

    uri: str
    sha256: str


@dataclass(frozen=True)
class ReadInput:
    """Something that a run read besides data, benchmark and notebook.

    `found` is declared or observed, `input` the name it was declared under. `sha256` is None for a host, and for a file
    that changed before it could be digested; `data_sha256` is that of a frame's content.
    """

    uri: str
    sha256: str | None
    found: str
    input: str | None = None
    data_sha256: str | None = None


@dataclass(frozen=True)
class GitCommit:
    """The commit that a run's code was at; `dirty_sha256` is the digest of what was not committed."""

    commit: str
    dirty: bool = False
    dirty_sha256: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """What is known of one run; times are ISO-8601 UTC text, `stages` are seconds.

    `status` is RUNNING, FINISHED, FAILED or KILLED (RUNNING and KILLED are never sealed), or UNREADABLE. `inputs` are
    what it read besides data, benchmark and notebook; `boundary` says what was checked, None of a run from before.
    """

    run_id: str
    status: str
    name: str = ""
    started_at: str = ""
    finished_at: str | None = None
    origin: str = ""
    error: RunError | None = None
    warnings: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)
    git: GitCommit | None = None
    data: Source | None = None
    notebook: Source | None = None
    seed: int | None = None
    python: str = ""
    platform: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    locks: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Json] = field(default_factory=dict)
    benchmark: Source | None = None
    inputs: tuple[ReadInput, ...] = ()
    boundary: Boundary | None = None

    @classmethod
    def unreadable(cls, run_id: str) -> Self:
        """Return the record of a run whose seal cannot be read."""
        return cls(run_id, UNREADABLE, error=RunError("manifest", "the manifest cannot be read"))

    def to_dict(self) -> dict[str, Json]:
        """Return the record as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Artifact:
    """One sealed file: POSIX path relative to the run directory, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


def sealed_record(run_id: str, name: str, manifest: Mapping[str, Any]) -> RunRecord:
    """Return what a manifest says of its run; of one that has another form, that it is UNREADABLE."""
    try:
        sealed_files(manifest)
        record = _sealed_record(run_id, name, manifest["predicate"])
        _check_types(record)
    except (KeyError, TypeError, AttributeError):
        return RunRecord.unreadable(run_id)
    return record


def sealed_files(manifest: Mapping[str, Any]) -> list[Artifact]:
    """Return the files that a manifest lists; raises KeyError or TypeError when it has another form."""
    found = [Artifact(s["name"], s["annotations"]["size"], s["digest"]["sha256"]) for s in manifest["subject"]]
    _require(isinstance(file.path, str) and isinstance(file.size, int) for file in found)
    return found


def _sealed_record(run_id: str, name: str, predicate: Mapping[str, Any]) -> RunRecord:
    definition, details, outcome = predicate["buildDefinition"], predicate["runDetails"], predicate["evidence_run"]
    inputs = {item["name"]: item for item in definition["resolvedDependencies"]}
    internal = definition["internalParameters"]
    return RunRecord(
        run_id=run_id,
        status=outcome["status"],
        name=name,
        started_at=details["metadata"]["startedOn"],
        finished_at=details["metadata"]["finishedOn"],
        origin=details["builder"]["id"].removeprefix(BUILDER),
        error=None if outcome["error"] is None else RunError.read(outcome["error"]),
        warnings=tuple(mask_shown(outcome["warnings"])),
        stages=outcome["stages"],
        git=_git(inputs.get("git")),
        data=_source(inputs.get("data")),
        benchmark=_source(inputs.get("benchmark")),
        notebook=_source(inputs.get("notebook")),
        seed=internal["seed"],
        python=internal["platform"]["python"],
        platform=internal["platform"]["platform"],
        packages=_named(inputs, "package:", lambda item: item["uri"].rpartition("@")[2]),
        modules=_named(inputs, "module:", lambda item: item["digest"]["sha256"]),
        locks=_named(inputs, "lock:", lambda item: item["digest"]["sha256"]),
        overrides=mask_shown(definition["externalParameters"]["overrides"]),
        inputs=tuple(_input(item) for name, item in inputs.items() if name.startswith(READ)),
        boundary=_boundary(outcome.get("boundary")),
    )


def _check_types(record: RunRecord) -> None:
    """Raise TypeError for a record that is not of the types that everybody who shows a run relies on."""
    _require(
        isinstance(text, str)
        for text in (record.status, record.started_at, record.origin, record.python, record.platform, *record.warnings)
    )
    tables = (record.stages, record.packages, record.modules, record.locks, record.overrides)
    _require(isinstance(table, Mapping) for table in tables)
    _require(isinstance(seconds, int | float) for seconds in record.stages.values())
    _require([isinstance(record.finished_at, str | None)])


def _input(item: Mapping[str, Any]) -> ReadInput:
    told = item["annotations"]
    digest = item.get("digest", {}).get("sha256")
    found = ReadInput(item["uri"], digest, told["found"], told.get("input"), told.get("data_sha256"))
    _require(isinstance(text, str) for text in (found.uri, found.found))
    _require(isinstance(text, str | None) for text in (found.input, found.sha256, found.data_sha256))
    return found


def _boundary(values: Any) -> Boundary | None:
    try:
        return None if values is None else Boundary.from_dict(values)
    except ValueError:
        return None


def _git(item: Mapping[str, Any] | None) -> GitCommit | None:
    if item is None:
        return None
    told = item["annotations"]
    return GitCommit(item["digest"]["gitCommit"], bool(told.get("dirty")), told.get("dirty_sha256"))


def _source(item: Mapping[str, Any] | None) -> Source | None:
    return None if item is None else Source(mask_shown(item["uri"]), item["digest"]["sha256"])


def _named(inputs: Mapping[str, Any], prefix: str, value: Callable[[Any], str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value(item) for name, item in inputs.items() if name.startswith(prefix)}


def _require(facts: Iterable[bool]) -> None:
    if not all(facts):
        raise TypeError("a value of the manifest is of another type")
