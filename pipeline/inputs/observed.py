"""What was seen of a run's reads: its files with their digests, the hosts it spoke to. The file `debug/inputs.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.errors import ArtifactError
from pipeline.files import read_json, write_json
from pipeline.inputs.completeness import Completeness
from pipeline.inputs.frames import Frame
from pipeline.inputs.network import Host

SCHEMA_VERSION = 1
MOST_NAMES = 5
NETWORK = "This run read from the network and cannot be replayed from its own inputs"
MISSING = "gone"


@dataclass(frozen=True)
class ObservedFile:
    """A file that was read: its name, size and SHA-256 when it was read, and the doors it was seen through.

    `sha256` is None when the file was changed before it could be digested. `changed_to` is the digest of what it held
    later, `gone` for nothing, None when it stayed as it was; `by_the_run` says that the run itself wrote it. `made`
    says that the file was written after the run had begun, by a writer that was not seen. `declared` is the name under
    which it was declared.
    """

    path: str
    sha256: str | None
    size: int
    doors: tuple[str, ...]
    changed_to: str | None = None
    by_the_run: bool = False
    made: bool = False
    declared: str | None = None


@dataclass(frozen=True)
class Observed:
    """Everything that was seen.

    `secrets` counts the files that look like secrets, `children` names the processes that were started, whose reads are
    not seen, `failed` says what was missed. `completeness` is what the system tells of the files that were opened, None
    when it was not asked.
    """

    files: tuple[ObservedFile, ...] = ()
    hosts: tuple[Host, ...] = ()
    frames: tuple[Frame, ...] = ()
    secrets: int = 0
    children: tuple[str, ...] = ()
    failed: str | None = None
    completeness: Completeness | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) not in ((), 0, None) for each in fields(self))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without what is not there."""
        files = [{key: value for key, value in asdict(file).items() if value or key == "size"} for file in self.files]
        return {
            "schema_version": SCHEMA_VERSION,
            "files": files,
            **({"hosts": [asdict(host) for host in self.hosts]} if self.hosts else {}),
            **({"frames": [asdict(frame) for frame in self.frames]} if self.frames else {}),
            **({"secrets": self.secrets} if self.secrets else {}),
            **({"children": list(self.children)} if self.children else {}),
            **({"failed": self.failed} if self.failed else {}),
            **({"completeness": asdict(self.completeness)} if self.completeness else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Observed:
        """Read what `to_dict` returned; unknown keys are passed over. Raises KeyError, TypeError."""
        kept = Frame.__dataclass_fields__
        known = ObservedFile.__dataclass_fields__
        files = [{"sha256": None, **{key: entry[key] for key in known if key in entry}} for entry in values["files"]]
        return cls(
            tuple(ObservedFile(**{**entry, "doors": tuple(entry["doors"])}) for entry in files),
            tuple(Host(entry["name"], entry["first"], entry["last"]) for entry in values.get("hosts", ())),
            tuple(Frame(**{key: entry[key] for key in kept if key in entry}) for entry in values.get("frames", ())),
            values.get("secrets", 0),
            tuple(values.get("children", ())),
            values.get("failed"),
            Completeness.from_dict(values["completeness"]) if "completeness" in values else None,
        )

    @property
    def network(self) -> str:
        """What is to be said of the network: empty where nothing was read from it.

        A frame that was declared after the last read is what the run made of it, and a replay has it.
        """
        if not self.hosts:
            return ""
        names = some([host.name for host in self.hosts])
        last = max(host.last for host in self.hosts)
        if later := [frame.name for frame in self.frames if frame.at >= last and frame.kept]:
            return f"This run read from the network ({names}); what it declared after that is kept: {some(later)}."
        return f"{NETWORK}: {names}."

    def warnings(self) -> Iterator[str]:
        """Yield what of this speaks against the run."""
        changed = [file for file in self.files if file.changed_to is not None]
        for by_the_run, whom in ((False, "Changed after the notebook had read it"), (True, "Read, then overwritten")):
            if texts := [_change(file) for file in changed if file.by_the_run is by_the_run]:
                yield f"{whom}: {some(texts)}."
        if undigested := [file.path for file in self.files if file.sha256 is None]:
            yield f"Changed before it could be digested, so that what was read is not known: {some(undigested)}."
        if large := [frame.name for frame in self.frames if not frame.kept]:
            yield f"Too large to be kept for replays: {some([f'the input {name}' for name in large])}."
        if self.hosts:
            yield self.network
        if self.failed:
            yield f"What the notebook read is not fully recorded: {self.failed}."


def write_observed(file: Path, observed: Observed) -> None:
    """Write `debug/inputs.json`; no file when nothing was seen."""
    if observed:
        write_json(file, observed.to_dict())


def read_observed(file: Path) -> Observed:
    """Read `debug/inputs.json`; nothing was seen where there is none. Raises ArtifactError for anything else."""
    if not file.is_file():
        return Observed()
    try:
        return Observed.from_dict(read_json(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{file} does not say what the notebook read ({error!r}).") from None


def some(names: Sequence[str]) -> str:
    """Return names for a sentence, the first five of many."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _change(file: ObservedFile) -> str:
    then = "content unknown" if file.sha256 is None else f"sha256:{file.sha256[:12]}"
    now = MISSING if file.changed_to == MISSING else f"sha256:{str(file.changed_to)[:12]}"
    return f"{file.path} ({then} -> {now})"
