"""Compare what two runs were made from: which inputs differ, the likeliest cause first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.digest import canonical_json, sha256_bytes
from pipeline.errors import VerificationError
from pipeline.masking import mask_shown, secret_name
from pipeline.objects import flat

FILES = ("data", "benchmark", "notebook")
KINDS = (
    *("spec", "data", "benchmark", "input", "notebook", "module", "package"),
    *("lock", "git", "seed", "python", "platform"),
)
LABELS = ("run.name", "run.experiment", "run.tags", "run.notebook", "tracking", "report")
UNUSED_BY_RESULTS = ("pipeline.tracking", "pipeline.report")
SEED = "run.seed"
ABSENT = "absent"


@dataclass(frozen=True)
class Inputs:
    """What a run was made from. `spec` has dotted keys; `data`, `notebook`, `benchmark`: SHA-256 or None.

    `inputs` are the other files it read, by path; not those that were made meanwhile, or changed before their digest.
    `frames` are those it declared, by name: the SHA-256 of the Parquet file.
    """

    spec: dict[str, Any]
    data: str | None
    notebook: str | None
    modules: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    python: str = ""
    platform: dict[str, str] = field(default_factory=dict)
    benchmark: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    frames: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class InputDifference:
    """One input that two runs do not share: its kind (one of KINDS), its name, what it was and what it is."""

    kind: str
    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        what = self.kind if self.kind == self.name else f"{self.kind} {self.name}"
        return f"{what}: {_shown(self.before)} -> {_shown(self.after)}"


def read_inputs(statement: Mapping[str, Any]) -> Inputs:
    """Read what a run was made from out of its manifest; raises VerificationError when that cannot be read."""
    try:
        definition = statement["predicate"]["buildDefinition"]
        found = {item["name"]: item for item in definition["resolvedDependencies"]}
        machine = dict(definition["internalParameters"]["platform"])
        return Inputs(
            spec=dict(flat(definition["externalParameters"]["spec"])),
            data=_sha256(found.get("data")),
            notebook=_sha256(found.get("notebook")),
            modules=_named(found, "module:", lambda item: item["digest"]["sha256"]),
            packages=_named(found, "package:", lambda item: item["uri"].rpartition("@")[2]),
            locks=_named(found, "lock:", lambda item: item["digest"]["sha256"]),
            git=_git(found.get("git")),
            python=machine.pop("python"),
            platform=machine,
            benchmark=_sha256(found.get("benchmark")),
            frames=_named(found, "frame:", lambda item: item["digest"]["sha256"]),
            inputs={
                item["uri"]: item["digest"]["sha256"]
                for name, item in found.items()
                if name.startswith("input:") and "digest" in item and not item["annotations"].get("made")
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise VerificationError(f"The manifest does not say what the run was made from ({error!r}).") from None


def compare_inputs(before: Inputs, after: Inputs) -> tuple[tuple[InputDifference, ...], tuple[InputDifference, ...]]:
    """Return what differs and may change results, in the order of KINDS, and what differs without effect on them.

    Without effect are names, tags, tracking and report, which modules of tracking were imported, and a git commit
    that only one of them recorded. Modules that changed come before those that only one of the runs imported.
    """
    found = [*_differences(before, after)]
    labels = tuple(item for item in found if _is_label(item))
    causes = [item for item in found if not _is_label(item)]
    causes.sort(key=lambda item: (KINDS.index(item.kind), None in (item.before, item.after)))
    return tuple(causes), labels


def reproduction_parts(inputs: Inputs) -> dict[str, Any]:
    """Return what decides the results of a run: equal parts, equal results. Git and lock files are not among them."""
    return {
        "spec": {key: value for key, value in inputs.spec.items() if not _labelled(key)},
        "data": inputs.data,
        **({"benchmark": inputs.benchmark} if inputs.benchmark else {}),
        **({"inputs": inputs.inputs} if inputs.inputs else {}),
        "notebook": inputs.notebook,
        "modules": inputs.modules,
        "packages": inputs.packages,
        "python": inputs.python,
        "machine": {key: inputs.platform.get(key) for key in ("implementation", "machine")},
    }


def reproduction_key(inputs: Inputs) -> str:
    """Return the SHA-256 of the canonical JSON of `reproduction_parts`."""
    return sha256_bytes(canonical_json(reproduction_parts(inputs)))


def _differences(before: Inputs, after: Inputs) -> Iterator[InputDifference]:
    seeds = before.spec.get(SEED), after.spec.get(SEED)
    spec = ({key: value for key, value in inputs.spec.items() if key != SEED} for inputs in (before, after))
    yield from map(_masked, _between("spec", *spec))
    for kind in FILES:
        yield from _one(kind, getattr(before, kind), getattr(after, kind))
    yield from _between("input", before.inputs, after.inputs)
    yield from _between("module", before.modules, after.modules)
    yield from _between("package", before.packages, after.packages)
    yield from _between("lock", before.locks, after.locks)
    yield from _one("git", before.git, after.git)
    yield from _one("seed", *seeds)
    yield from _one("python", before.python, after.python)
    yield from _between("platform", before.platform, after.platform)


def _between(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[InputDifference]:
    for name in sorted(before.keys() | after.keys()):
        if not _same(before.get(name), after.get(name)):
            yield InputDifference(kind, name, before.get(name), after.get(name))


def _masked(item: InputDifference) -> InputDifference:
    secret = secret_name(item.name)
    before, after = (mask_shown(value, secret=secret) for value in (item.before, item.after))
    return replace(item, before=before, after=after)


def _one(kind: str, before: Any, after: Any) -> Iterator[InputDifference]:
    if not _same(before, after):
        yield InputDifference(kind, kind, before, after)


def _same(before: Any, after: Any) -> bool:
    """Compare JSON values; 1 and 1.0 are the same number, True is not 1."""
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def _is_label(item: InputDifference) -> bool:
    if item.kind == "spec":
        return _labelled(item.name)
    one_sided = item.before is None or item.after is None
    return one_sided and (item.kind == "git" or item.name.startswith(UNUSED_BY_RESULTS))


def _labelled(key: str) -> bool:
    return any(key == label or key.startswith(f"{label}.") for label in LABELS)


def _sha256(item: Mapping[str, Any] | None) -> str | None:
    return None if item is None else item["digest"]["sha256"]


def _git(item: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if item is None:
        return None
    annotations = item.get("annotations", {})
    return {"commit": item["digest"]["gitCommit"], "dirty_sha256": annotations.get("dirty_sha256")}


def _named(found: Mapping[str, Any], prefix: str, value: Callable[[Any], str]) -> dict[str, str]:
    return {name.removeprefix(prefix): value(item) for name, item in found.items() if name.startswith(prefix)}


def _shown(value: Any) -> str:
    """Return a value for people: digests shortened, nothing as `absent`."""
    if value is None:
        return ABSENT
    if isinstance(value, Mapping) and "commit" in value:
        dirty = value.get("dirty_sha256")
        return f"{value['commit'][:12]}{' with uncommitted changes ' + dirty[:12] if dirty else ''}"
    text = value if isinstance(value, str) else repr(value)
    is_digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return f"sha256:{text[:12]}" if is_digest else text
