"""Export a run as a Process Run Crate: RO-Crate 1.1 metadata that other tools read, beside the run's files.

Specifications: https://w3id.org/ro/crate/1.1, https://w3id.org/ro/wfrun/process/0.5.
"""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline.errors import EvidenceError, UsageError
from pipeline.evidence.inputs import find_kept
from pipeline.evidence.manifest import read_manifest
from pipeline.evidence.verify import verify_run
from pipeline.layout import REPORT_DIR, UNSEALED
from pipeline.objects import as_object, flat
from pipeline.rundir import RunDir

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate  # type: ignore[import-untyped]

UNKNOWN = "unknown"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PROFILE_NAME = "Process Run Crate"
VERSION = "1.1"
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
STATUS = {
    "FINISHED": "http://schema.org/CompletedActionStatus",
    "FAILED": "http://schema.org/FailedActionStatus",
}
PRONOM = "https://www.nationalarchives.gov.uk/PRONOM/"
FORMATS = {
    ".csv": ("text/csv", "x-fmt/18", "Comma Separated Values"),
    ".html": ("text/html", "fmt/471", "Hypertext Markup Language 5"),
    ".ipynb": ("application/x-ipynb+json", "fmt/1119", "Jupyter Notebook"),
    ".json": ("application/json", "fmt/817", "JSON Data Interchange Format"),
    ".parquet": ("application/vnd.apache.parquet", "fmt/1894", "Apache Parquet"),
    ".png": ("image/png", "fmt/11", "Portable Network Graphics"),
    ".toml": ("application/toml", "", ""),
}
PLAIN_TEXT = ("text/plain", "x-fmt/111", "Plain Text File")
HOME_PAGE = "https://evidence-chain.invalid/"  # the profile wants a web address; `.invalid` never leads anywhere
NOT_RECORDED = "Not recorded"
NOT_RECORDED_PAGE = "https://not-recorded.invalid/"
NO_LICENSE = "No licence is stated for this run."
INPUTS = ("data", "notebook")


@dataclass(frozen=True)
class Credit:
    """Whom and which licence the crate names: a run records neither. `organization_url` is the home page of the
    author's organization; `license` is a URL or text.
    """

    author: str = NOT_RECORDED
    organization: str = NOT_RECORDED
    organization_url: str = NOT_RECORDED_PAGE
    license: str = ""


def write_crate(run: RunDir, target: Path, credit: Credit = Credit()) -> Path:
    """Write a sealed run as a Process Run Crate to the new directory `target`; return it.

    The crate holds every file of the run, and its data and notebook when their kept copies are there. Equal runs give
    equal crates. Raises UsageError when `target` exists, VerificationError when the run does not match its seal,
    EvidenceError when the `rocrate` package is missing.
    """
    if target.exists():
        raise UsageError(f"{target} is there already. Give a directory that does not exist yet.")
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise EvidenceError(
            "The package `rocrate` is not installed. Install it with: pip install 'evidence-chain[export]'"
        ) from None
    verify_run(run).raise_for_problems()
    crate = ROCrate(gen_preview=False, version=VERSION)
    crate.metadata.extra_terms.update(TERMS)
    _Crate(crate, run, read_manifest(run), credit).fill()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as directory:
        written = Path(directory) / "crate"
        crate.write(written)
        shutil.move(written, target)
    return target


class _Crate:
    """Fills a crate with one run."""

    def __init__(self, crate: ROCrate, run: RunDir, manifest: Mapping[str, Any], credit: Credit) -> None:
        self.crate = crate
        self.run = run
        self.definition = manifest["predicate"]["buildDefinition"]
        self.details = manifest["predicate"]["runDetails"]
        self.outcome = manifest["predicate"]["evidence_run"]
        self.sealed = {entry["name"]: entry["digest"]["sha256"] for entry in manifest["subject"]}
        self.spec = self.definition["externalParameters"]["spec"]
        self.credit = credit
        self.times = self.details["metadata"]

    def fill(self) -> None:
        """Describe the run: the crate itself, the files, the program, the action that made them."""
        agent, organization = self._people()
        self._root(agent, organization)
        results = [self._file(self.run.path / name, name) for name in self._names()]
        objects = [*self._inputs(), *self._settings()]
        self._action(agent, objects, results)

    def _add(self, identifier: str, kind: str, **properties: Any) -> Any:
        from rocrate.model.contextentity import ContextEntity  # type: ignore[import-untyped]

        return self.crate.add(ContextEntity(self.crate, identifier, properties={"@type": kind, **properties}))

    def _names(self) -> list[str]:
        views = sorted(path for path in (self.run.path / REPORT_DIR).rglob("*") if path.is_file())
        others = [name for name in sorted(UNSEALED) if (self.run.path / name).is_file()]
        return [*self.run.sealed_paths(), *others, *(path.relative_to(self.run.path).as_posix() for path in views)]

    def _root(self, agent: Any, organization: Any) -> None:
        strategy, data = self._asked("strategy", "name"), self._asked("data", "symbol", "source")
        root = self.crate.root_dataset
        root["name"] = f"{self._asked('run', 'name')} ({self.run.run_id})"
        root["description"] = (
            f"A backtest run of {strategy} on {data}, {self.outcome['status']}: inputs, results, seal."
        )
        root["datePublished"] = _moment(self.times["finishedOn"])
        root["author"] = agent
        root["publisher"] = organization
        root["license"] = self._license()
        root["conformsTo"] = self._add(PROFILE, "CreativeWork", name=PROFILE_NAME, version=PROFILE.rpartition("/")[2])

    def _asked(self, section: str, *keys: str) -> str:
        """Return the first of these that the sealed spec says; a spec of another form says nothing."""
        values = as_object(self.spec.get(section))
        said = [values[key] for key in keys if values.get(key)]
        return str(said[0]) if said else UNKNOWN

    def _license(self) -> Any:
        text = self.credit.license
        identifier = text if "://" in text else "#license"
        return self._add(identifier, "CreativeWork", name=text or "No licence", description=text or NO_LICENSE)

    def _people(self) -> tuple[Any, Any]:
        page = self.credit.organization_url
        organization = self._add(page, "Organization", name=self.credit.organization, url=page)
        return self._add("#agent", "Person", name=self.credit.author, affiliation=organization), organization

    def _file(self, path: Path, name: str, **properties: Any) -> Any:
        kind, pronom, title = FORMATS.get(PurePosixPath(name).suffix, PLAIN_TEXT)
        encoding = [kind, self._add(PRONOM + pronom, "WebSite", name=title)] if pronom else kind
        facts = {"name": name, "encodingFormat": encoding, "contentSize": str(path.stat().st_size), **properties}
        facts |= {"sha256": self.sealed[name]} if name in self.sealed else {}
        return self.crate.add_file(path, name, properties=facts)

    def _inputs(self) -> Iterator[Any]:
        """Add the input files: themselves when a kept copy is there, else what is known of them."""
        found = {item["name"]: item for item in self.definition["resolvedDependencies"]}
        for name in (name for name in INPUTS if name in found):
            uri, digest = found[name]["uri"], found[name]["digest"]["sha256"]
            facts = {"description": f"The {name} the run was made from, {uri}.", "sha256": digest}
            kept = find_kept(self.run.results, digest)
            if kept is None:
                yield self._add(f"#{name}", "CreativeWork", name=uri, **facts)
            else:
                yield self._file(kept, f"inputs/{name}{kept.suffix}", **facts)

    def _settings(self) -> Iterator[Any]:
        for key, value in flat(self.spec):
            if value is not None:
                shown = value if isinstance(value, bool | int | float | str) else str(value)
                yield self._add(f"#spec-{key}", "PropertyValue", name=key, value=shown)

    def _program(self) -> Any:
        version = self.details["builder"]["version"]["evidence-chain"]
        python = self.definition["internalParameters"]["platform"]["python"]
        identifier = f"{HOME_PAGE}{version}"
        text = f"Executed with Python {python}; manifest.json lists every package, module and lock file."
        return self._add(
            identifier, "SoftwareApplication", name="evidence-chain", version=version, url=HOME_PAGE, description=text
        )

    def _action(self, agent: Any, objects: list[Any], results: list[Any]) -> None:
        error = self.outcome["error"]
        action = self._add(
            f"#{self.run.run_id}",
            "CreateAction",
            name=f"Run {self.run.run_id}",
            description=f"The notebook {self._asked('run', 'notebook')}, executed with the values of the run spec.",
            startTime=_moment(self.times["startedOn"]),
            endTime=_moment(self.times["finishedOn"]),
            actionStatus=STATUS[self.outcome["status"]],
            **({"error": error["message"]} if error else {}),
        )
        action["instrument"] = self._program()
        action["agent"] = agent
        action["object"] = objects
        action["result"] = results
        self.crate.root_dataset["mentions"] = action


def _moment(text: str) -> str:
    """Return a time in the one form of ISO-8601 the profile's checks know: milliseconds, offset `+00:00`."""
    return dt.datetime.fromisoformat(text).isoformat(timespec="milliseconds")
