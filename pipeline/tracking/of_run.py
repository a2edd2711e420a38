"""The tracked run of a run: its tags, its data, its description, its end."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backtest.catalogue import HEADLINE
from pipeline.errors import (
    ArtifactError,
)
from pipeline.escape import code_span
from pipeline.evidence.inputs import NOTEBOOK
from pipeline.evidence.recording import checkpoint
from pipeline.files import read_json, write_json
from pipeline.inputs.observed import read_observed
from pipeline.inputs.record import FRAME, OBSERVED
from pipeline.masking import masked
from pipeline.open_run import OpenRun
from pipeline.results.record import ResultRecord
from pipeline.results.what import what_ran
from pipeline.robustness_record import LOOK_AHEAD, Robustness
from pipeline.tracking.datasets import file_dataset
from pipeline.tracking.store import CHECKPOINT_TAG, DATA_TAG, MANIFEST_TAG, RUN_ID_TAG
from pipeline.tracking.uri import artifact_url

if TYPE_CHECKING:
    from pipeline.tracking.protocol import Status
    from pipeline.tracking.run_tracking import RunTracking

DATA = ("data", "benchmark")
MOST_DATASETS = 100  # of one run, in MLflow


def run_tags(run: OpenRun) -> dict[str, str]:
    """Return the tags a tracked run carries: who it is, what it trades as far as that is known, which code made it."""
    data = {DATA_TAG: run.digests["data"]} if "data" in run.digests else {}
    git = {} if run.git is None else {"git_commit": run.git.commit, "git_dirty": str(run.git.dirty).lower()}
    return {
        **run.spec.run.tags,
        RUN_ID_TAG: run.dir.run_id,
        "run_id": run.dir.run_id,
        **_subject_tags(run),
        "origin": run.origin,
        **data,
        **git,
    }


def _subject_tags(run: OpenRun) -> dict[str, str]:
    """Return the tags that say what a run is about: before its end what was asked for, then what ran."""
    what = what_ran(run.spec, ResultRecord.read(run.dir))
    engine = "" if what.engine is None else str(what.engine)
    return {
        key: value
        for key, value in {"strategy": what.strategy, "symbol": what.symbol, "engine": engine}.items()
        if value
    }


def track_run(run: OpenRun, tags: Mapping[str, str] | None = None) -> RunTracking:
    """Open the tracking of a run, with its data as inputs, and write down where it is tracked.

    `tags` are set beside those every run has. Raises TrackingError in mode `strict`.
    """
    from pipeline.tracking.run_tracking import open_tracking

    tracking = open_tracking(
        run.spec.tracking,
        run=run.dir,
        spec=run.spec,
        settings=run.settings,
        tags={**run_tags(run), **(tags or {})},
        datasets=run_datasets(run),
    )
    write_json(run.dir.tracking, tracking.info.to_dict())
    return tracking


def run_datasets(run: OpenRun) -> list[dict[str, Any]]:
    """Return the data that goes into a run as MLflow describes it: what the spec names, by digest."""
    named = {name: run.declared.get(name, name) for name in run.inputs if name != NOTEBOOK}
    datasets = [file_dataset(masked(run.inputs[n][0]), run.digests[n], context=context) for n, context in named.items()]
    return datasets[:MOST_DATASETS]


def read_datasets(run: OpenRun) -> list[dict[str, Any]]:
    """Return what else a run was seen to read, or declared meanwhile, in the same way."""
    with contextlib.suppress(ArtifactError):  # the seal says so
        observed = read_observed(run.dir.inputs)
        known = {uri for uri, _ in run.inputs.values()}
        files = [
            (file.path, file.sha256, file.declared or OBSERVED) for file in observed.files if file.declared not in DATA
        ]
        found = [(f"{FRAME}{frame.name}", frame.sha256, frame.name) for frame in observed.frames] + files
        digested = [(name, sha, context) for name, sha, context in found if sha is not None and name not in known]
        return [file_dataset(name, sha, context=context) for name, sha, context in digested[:MOST_DATASETS]]
    return []


def finish_tracking(run: OpenRun, tracking: RunTracking, status: Status) -> None:
    """End the tracked run of a sealed run: its files as artifacts, the seal's digest as a tag, a description.

    Raises TrackingError in mode `strict`.
    """
    seal = [path.name for path in (run.dir.manifest, run.dir.signature) if path.is_file()]
    files = [Path(name) for name in (*run.dir.sealed_paths(), *seal)]
    tags = {
        MANIFEST_TAG: run.manifest_sha256 or "",
        CHECKPOINT_TAG: checkpoint(run.dir) or "",
        **_subject_tags(run),
    }
    tracking.finish(status, artifacts=files, tags=tags, description=_description(run, status, tracking.info.run_url))


def _description(run: OpenRun, status: str, run_url: str | None) -> str:
    """Return the text MLflow shows above the run: what ran, how it ended, where the report is, how to check it."""
    stats = read_json(run.dir.stats) if run.dir.stats.is_file() and status == "FINISHED" else {}
    found = {name: value for name in HEADLINE if isinstance(value := stats.get(name), int | float)}
    lines = [f"{name}: {value:.4g}" for name, value in found.items()]
    lines += [LOOK_AHEAD[Robustness.read(run.dir).leak_status]] if lines else []
    what = what_ran(run.spec, ResultRecord.read(run.dir))
    subject = " on ".join(code_span(part) for part in what.parts)
    text = [f"{subject}, {status}.", *lines]
    report = run.dir.report.relative_to(run.dir.path).as_posix()
    link = artifact_url(run_url, report)
    shown = f"[{report}]({link})" if link else f"artifact `{report}`"
    return "\n\n".join([*text, f"Report: {shown}", f"Check: `evidence verify {run.dir.run_id}`"])
