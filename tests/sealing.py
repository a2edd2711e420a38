"""The one place in which tests write the manifest of a run directory that no pipeline made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.evidence.manifest import Input, Outcome, build_manifest, collect_inputs, write_manifest
from pipeline.evidence.provenance import Environment
from pipeline.rundir import RunDir

DATA = ("sample:sp500", "ab" * 32)
BEGAN, ENDED = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"


def write_seal(
    run: RunDir,
    spec: Mapping[str, Any],
    *,
    origin: str = "test",
    outcome: Outcome | None = None,
    overrides: Mapping[str, Any] | None = None,
    files: Mapping[str, tuple[str, str]] | None = None,
    read: Iterable[Input] = (),
    platform: str = "Linux",
    packages: Mapping[str, str] | None = None,
) -> str:
    """Write the manifest of what is in a run directory and return its digest.

    `files` are what the run was made from by name, each its address and SHA-256; `read` what else it was seen to read.
    """
    installed = {"numpy": "2.0.0"} if packages is None else dict(packages)
    environment = Environment("3.11.0", "CPython", platform, "x86_64", installed)
    inputs = collect_inputs(
        files={"data": DATA} if files is None else dict(files), git=None, environment=environment, modules={}, locks={},
        read=tuple(read),
    )  # fmt: skip
    manifest = build_manifest(
        run, origin=origin, spec=dict(spec), overrides=dict(overrides or {}), seed=0, inputs=inputs,
        environment=environment, outcome=outcome or Outcome("FINISHED", BEGAN, ENDED),
    )  # fmt: skip
    return write_manifest(run, manifest)
