"""What a public page must not show: paths, addresses, names of hosts and users, e-mail, environments.

Two lines of defence. Text of a run passes through a Redactor before it gets near a page; and each finished page is
searched for the words that nobody should read, which stops the build when one is found.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RenderError
from pipeline.inputs.record import NETWORK
from pipeline.objects import as_object
from pipeline.run import Run
from pipeline.run_record import Artifact, ReadInput, RunRecord, Source
from pipeline.settings import Settings
from pipeline.site.options import SiteOptions
from pipeline.site.patterns import GENERAL, Pattern, own_patterns, spans, whole_words
from pipeline.site.readings import encoded_texts, texts_of
from pipeline.spec import RunSpec, recorded_spec

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.backtest.spacing import DataFacts
    from pipeline.results.record import ResultRecord
    from pipeline.tracking.run_tracking import TrackingInfo

MARK = "[left out]"
STARTS_AS_PATH = re.compile(r"\s*(?:(?:~|\$HOME)?/[^/\s][^/]*/|(?:~|\$HOME)/|[A-Za-z]:[\\/]|\\\\|file:)")
# Names that say nothing about anybody, and occur in plain English.
NOBODY = frozenset(
    {"root", "user", "admin", "nobody", "ubuntu", "debian", "runner", "localhost", "host", "app", "test"}
)
NOT_LISTED = "it is not among the files that may be public"
UNREADABLE = "nobody can see what it holds: it is neither text in UTF-8 nor a plain PNG"
PRIVATE = "it holds what may not be public: a path, an address, a host, a user, or a word of [public]"
CONFIG_LEFT_OUT = {"tracking": ("uri", "ui_url")}


@dataclass(frozen=True)
class Redactor:
    """Takes out of text what must not be shown.

    `words` and `hide` count as whole words and in any case. A finished page is searched for `hide` and `patterns`,
    but not for `words`: the name of a user may be a word that the report itself uses.
    """

    words: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    hide_tags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @cached_property
    def _named(self) -> list[Pattern]:
        return [*whole_words(self.hide), *own_patterns(self.patterns)]

    @cached_property
    def _all(self) -> list[Pattern]:
        return [*GENERAL, *whole_words(self.words), *self._named]

    def text(self, text: object) -> str:
        """Return `text` with `[left out]` in the place of what must not be shown."""
        whole, kept, at = str(text), [], 0
        for start, end in spans(whole, self._all):
            kept += [whole[at:start], MARK]
            at = end
        return "".join([*kept, whole[at:]])

    def setting(self, text: str) -> str:
        """Return a text that may be nothing but a path: one that begins as a path goes whole, blanks in it or not."""
        return MARK if STARTS_AS_PATH.match(text) else self.text(text)

    def value(self, value: Any, *, settings: bool = False) -> Any:
        """Return JSON values or a dataclass with every text and key redacted.

        With `settings`, texts may be paths as a whole.
        """
        if isinstance(value, str):
            return self.setting(value) if settings else self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self.value(item, settings=settings) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.value(item, settings=settings) for item in value)
        if is_dataclass(value) and not isinstance(value, type):
            shown = {each.name: self.value(getattr(value, each.name), settings=settings) for each in fields(value)}
            return replace(value, **shown)
        return value

    def check(self, text: str, what: str) -> str:
        """Return `text`; raises RenderError when one of the words or patterns is still in it."""
        for start, end in spans(text, self._named):
            raise RenderError(
                f"{what} would show {text[start:end]!r}, which a public page must not. It was not written; take "
                "the word out of the project's pages, or out of [public] in config/site.toml."
            )
        return text

    def shows(self, name: str, data: bytes) -> bool:
        """Say whether a sealed file may be shown: it is on the list, and has nothing that would be left out."""
        return self.why_not(name, data) is None

    def why_not(self, name: str, data: bytes) -> str | None:
        """Say why a sealed file may not be shown; None for one that may."""
        if not any(fnmatch(name, pattern) for pattern in self.files):
            return NOT_LISTED
        texts = texts_of(name, data)
        encoded = encoded_texts(texts[0]) if texts else ([], [])
        if texts is None or encoded is None:
            return UNREADABLE
        given = [*whole_words(self.words), *self._named]
        private = self._finds([name, *texts, *encoded[0]], self._all) or self._finds(encoded[1], given)
        return PRIVATE if private else None

    @staticmethod
    def _finds(texts: Iterable[str], patterns: list[Pattern]) -> bool:
        return any(True for text in texts for _ in spans(text, patterns))


def make_redactor(options: SiteOptions, settings: Settings) -> Redactor:
    """Return the redactor of a project: this host, this user, the project's directories, and what the options say."""
    words = [socket.gethostname(), socket.getfqdn()]
    with contextlib.suppress(OSError, KeyError):
        words.append(getpass.getuser())
    words += [path for path in map(str, (settings.root, settings.results, Path.home())) if path.count(os.sep) > 1]
    kept = dict.fromkeys(word for word in words if len(word) > 1 and word.lower() not in NOBODY)
    return Redactor(tuple(kept), options.hide, options.patterns, options.hide_tags, options.public_files)


class RedactedRun(Run):
    """A run as a public page may show it. `verify` and digests are those of the run itself."""

    def __init__(self, run: Run, redactor: Redactor) -> None:
        super().__init__(run.dir)
        self._run = run
        self._redactor = redactor

    @cached_property
    def record(self) -> RunRecord:
        """What is known of the run, without its environment and without tracebacks."""
        record = self._run.record
        shown: RunRecord = self._redactor.value(record)
        return replace(
            shown,
            error=shown.error and replace(shown.error, traceback=""),
            data=_source(record.data, self._redactor),
            notebook=_source(record.notebook, self._redactor),
            benchmark=_source(record.benchmark, self._redactor),
            inputs=tuple(_read(item, self._redactor) for item in record.inputs),
            overrides=self._redactor.value(record.overrides, settings=True),
            python="",
            platform="",
            packages={},
            modules={},
            locks={},
        )

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run spec with every text redacted, without hidden tags and addresses of stores."""
        config = dict(self._run.config)
        for section, keys in CONFIG_LEFT_OUT.items():
            if values := as_object(config.get(section)):
                config[section] = {key: value for key, value in values.items() if key not in keys}
        run = as_object(config.get("run"))
        if tags := as_object(run.get("tags")):
            config["run"] = {**run, "tags": {key: tags[key] for key in tags if key not in self._redactor.hide_tags}}
        redacted: dict[str, Any] = self._redactor.value(config, settings=True)
        return redacted

    @cached_property
    def result(self) -> ResultRecord | None:
        """What the result says of itself, with every text redacted."""
        from pipeline.results.record import ResultRecord

        found = self._run.result
        return found and ResultRecord.from_dict(self._redactor.value(found.to_dict(), settings=True))

    @cached_property
    def spec(self) -> RunSpec | None:
        """What the run was asked to do, with every text redacted; without inputs, whose names are no names then."""
        return recorded_spec({name: section for name, section in self.config.items() if name != "inputs"})

    @cached_property
    def data_facts(self) -> DataFacts | None:
        """What the run recorded of its bars, with the sentences about them redacted."""
        found, value = self._run.data_facts, self._redactor.value
        if found is None:
            return None
        told = {name: value(getattr(found, name)) for name in ("notes", "benchmark", "warnings")}
        return replace(found, **told)

    @cached_property
    def stats(self) -> dict[str, float | int | None]:
        """Metrics by name."""
        stats: dict[str, float | int | None] = self._redactor.value(self._run.stats)
        return stats

    @cached_property
    def tracking(self) -> TrackingInfo | None:
        """The id of the tracked run, without addresses."""
        from pipeline.tracking.run_tracking import TrackingInfo

        known = self._run.tracking
        if known is None:
            return None
        experiment = known.experiment_name and self._redactor.text(known.experiment_name)
        return TrackingInfo(experiment_name=experiment, mlflow_run_id=known.mlflow_run_id, status=known.status)

    @cached_property
    def trades(self) -> pd.DataFrame:
        """The trades, with every text redacted."""
        trades = self._run.trades
        texts = {
            name: column.map(self._redactor.value)
            for name, column in trades.items()
            if column.dtype == object or str(column.dtype).startswith("str")
        }
        return trades.assign(**{str(name): column for name, column in texts.items()})

    @cached_property
    def artifacts(self) -> list[Artifact]:
        """The sealed files, names redacted."""
        return [replace(item, path=self._redactor.text(item.path)) for item in self._run.artifacts]


def _source(source: Source | None, redactor: Redactor) -> Source | None:
    return source and replace(source, uri=redactor.setting(source.uri))


def _read(item: ReadInput, redactor: Redactor) -> ReadInput:
    """Return one thing that a run read; of a host nothing but that there was one."""
    shown: ReadInput = redactor.value(item, settings=True)
    return replace(shown, uri=f"{NETWORK}{MARK}") if item.uri.startswith(NETWORK) else shown
