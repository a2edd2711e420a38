"""A run between its first file and its seal."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import (
    DataError,
    InputChangedError,
)
from pipeline.evidence.inputs import NOTEBOOK
from pipeline.evidence.manifest import RUN
from pipeline.evidence.provenance import GitState, lock_files
from pipeline.inputs.declared import PREFIX, declared_files
from pipeline.inputs.places import Known, Places, Stamp, stamp_of
from pipeline.masking import masked_text
from pipeline.results.record import ResultRecord
from pipeline.results.what import what_ran
from pipeline.rundir import RunDir
from pipeline.running import write_state
from pipeline.secrets import Secrets, mask_parameters, masked_overrides, masked_values
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.telemetry import Labels, RunLog, Step, begin_run, step, tell_run

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer


Progress = Callable[[str], None]
ENDED = ("FINISHED", "FAILED")


def silent(_stage: str) -> None:
    """Report no progress."""


def utc_now() -> str:
    """Return the time as ISO-8601 UTC text with microseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class OpenRun:
    """A run between its first file and its seal.

    `asked` is what was asked for as the snapshot keeps it: the spec, or a sweep's. `inputs` maps a name to where it
    came from and its path; their digests are taken when the run is opened and compared before it is sealed. `contents`
    are the bytes of inputs that were read before that: these are digested then, whatever became of the file. `stages`
    are seconds, `warnings` sentences.
    """

    dir: RunDir
    spec: RunSpec
    settings: Settings
    origin: str
    inputs: dict[str, tuple[str, Path]]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = silent
    contents: Mapping[str, bytes] = field(default_factory=dict)
    started_at: str = field(default_factory=utc_now)
    git: GitState | None = None
    warnings: list[str] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    manifest_sha256: str | None = None
    signer: Signer | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    build_type: str = RUN
    declared: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)
    masked: set[str] = field(default_factory=set)
    log: RunLog = field(init=False)
    whole: Step = field(init=False)

    def __post_init__(self) -> None:
        labels = Labels.of(self.dir.run_id, self.spec)
        self.log = RunLog(self.dir, labels, lambda text: self.secrets.hidden(masked_text(text)))
        self.whole = begin_run(self.log)
        self.log.context = self.whole.context

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say which stage the run is in, and record how many seconds it took."""
        with contextlib.suppress(OSError):  # a terminal that is gone
            self.progress(name)
        self.write_state("RUNNING", name)
        begin = time.perf_counter()
        try:
            with step(name, kind="stage", log=self.log, above=self.whole):
                yield
        finally:
            self.stages[name] = round(time.perf_counter() - begin, 4)

    def end(self) -> None:
        """Say that the run has ended, in whatever way; a second call says nothing."""
        if self.whole.seconds is not None:
            return
        self.log.status = self.log.status if self.log.status in ENDED else "KILLED"
        self.whole.labels = self.log.labels = self._labels()
        self.whole.error = self.log.error
        self.whole.facts |= {"name": self.spec.run.name, "origin": self.origin}
        self.whole.name = "run" if self.build_type == RUN else "sweep"
        self.whole.end()
        tell_run(self.whole, self.log.status, self.stages)

    def _labels(self) -> Labels:
        """Return the labels of the run, those that only its result tells, too."""
        what, asked = what_ran(self.spec, ResultRecord.read(self.dir)), self.log.labels
        return replace(asked, strategy=asked.strategy or what.strategy, symbol=asked.symbol or what.symbol)

    def write_state(self, status: str, stage: str, **more: str) -> None:
        """Record the state beside the run directory, as long as the run is not sealed."""
        if self.manifest_sha256 is None:
            write_state(self.dir, status=status, stage=stage, started_at=self.started_at, origin=self.origin, **more)

    def mask_secrets(self) -> None:
        """Mask the secrets in what the run was asked for, and keep them to look for."""
        self.secrets = Secrets.of_run(self.spec, os.environ)
        self.masked = {*self.secrets.parameters}
        self.spec, _ = mask_parameters(self.spec)
        self.overrides, self.asked = masked_overrides(self.overrides), masked_values(self.asked)

    def take_digests(self) -> None:
        """Digest the inputs; raises DataError when one cannot be read."""
        of_spec = declared_files(self.spec.inputs, self.settings.root)
        places = {name: str(path) for name, (_, path) in self.inputs.items() if name.startswith(PREFIX)}
        self.declared = {name: of_spec[path][0] for name, path in places.items() if path in of_spec}
        for name, (uri, path) in self.inputs.items():
            try:
                content = self.contents.get(name)
                self.stamps[name] = stamp_of(path.stat())
                self.digests[name] = sha256_file(path) if content is None else sha256_bytes(content)
            except OSError as error:
                raise DataError(f"The input {uri} cannot be read: {error.strerror}.") from None

    def places(self, tracking_host: str | None = None, apart: Iterable[Path] = ()) -> Places:
        """Return which files the run reads as inputs, and what is known of those that were declared.

        Notebook, lock files and those `apart` are no inputs, whoever opens them.
        """
        declared = {
            str(path): Known(self.declared.get(name, name), self.digests.get(name), self.stamps.get(name))
            for name, (_, path) in self.inputs.items()
            if name != NOTEBOOK
        }
        hosts = (tracking_host,) if tracking_host else ()
        root, results = str(self.settings.root), str(self.settings.results)
        own = [path for name, (_, path) in self.inputs.items() if name == NOTEBOOK]
        locks = [self.settings.root / name for name in lock_files(self.settings.root)]
        others = tuple(map(str, (*own, *locks, *apart)))
        return Places(root, results, tuple(map(str, self.settings.watched)), declared, hosts, others)

    def check_inputs(self) -> None:
        """Raise InputChangedError when an input is no longer what it was at the start."""
        changed = [uri for name, (uri, path) in self.inputs.items() if _digest_now(path) != self.digests[name]]
        if changed:
            raise InputChangedError(
                f"Changed while the run was executing: {', '.join(changed)}. Run again on files at rest."
            )


def _digest_now(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
