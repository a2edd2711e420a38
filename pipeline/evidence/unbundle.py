"""Check what a stranger sent: a bundle, an unpacked bundle, or the directory of one run.

A bundle is refused before anything is written unless it looks exactly like one that `make_bundle` writes: stored,
not compressed (so nothing can expand), plain names below one folder, regular files, nothing said twice.
"""

from __future__ import annotations

import struct
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_file
from pipeline.errors import UsageError, VerificationError
from pipeline.evidence.bundle import (
    BUNDLE_TYPE,
    CODE,
    INPUTS,
    KEYS,
    MOST_BYTES,
    MOST_FILES,
    PREFIX,
    PUBLIC_TYPE,
    SIGNED,
    SUMS,
    UNSIGNED,
    sums,
    write_zip,
)
from pipeline.evidence.dsse import read_envelope
from pipeline.evidence.leaves import ENTRY, leaf_problems
from pipeline.evidence.ledger import RUN_ADOPTED, SEALS, Checkpoint, Entry, parse_line
from pipeline.evidence.manifest import STATEMENT_TYPE
from pipeline.evidence.merkle import root_from_path
from pipeline.evidence.problem import Problem, Verification
from pipeline.evidence.public import ended, left_out_in, verify_public
from pipeline.evidence.statement import digests_by_name
from pipeline.evidence.strict_json import parse_canonical
from pipeline.evidence.trust import Trust, TrustedKey, trusted
from pipeline.evidence.verify import ADOPTED, verify_run
from pipeline.file_names import is_plain_name, one_form
from pipeline.files import list_files
from pipeline.layout import Layout
from pipeline.rundir import RUN_ID, RunDir

END = struct.Struct("<4s4H2LH")
FLAG_UTF8 = 0x800
NO_BUNDLE = (ValueError, OSError, zipfile.BadZipFile, NotImplementedError, EOFError)


class SentRun(RunDir):
    """A run directory under any name, such as one that somebody unpacked; its id is the one its manifest says."""

    def __init__(self, path: Path, run_id: str) -> None:
        Layout.__init__(self, path)
        object.__setattr__(self, "_run_id", run_id)

    @property
    def run_id(self) -> str:
        """Return the id of the manifest."""
        run_id: str = self.__dict__["_run_id"]
        return run_id


def verify_path(directory: Path, *, trust: Trust | None = None, checkpoint: Checkpoint | None = None) -> Verification:
    """Verify the directory of one run, wherever it is and whatever its name, or an unpacked bundle.

    A directory whose name is a run_id must hold that run.
    """
    if (directory / SIGNED).exists() or (directory / UNSIGNED).exists():
        return _verify_unpacked(directory, trust, checkpoint=checkpoint)
    if checkpoint is not None:
        raise UsageError("A run's directory holds no leaves of the ledger to find a checkpoint among: a bundle does.")
    return replace(verify_run(_sent_run(directory.absolute()), trust=trust), sent=True)


def _sent_run(path: Path) -> RunDir:
    if RUN_ID.fullmatch(path.name):
        return RunDir(path.parent, path.name)
    try:
        manifest = parse_canonical((path / "manifest.json").read_bytes())
        run_id = manifest["predicate"]["runDetails"]["metadata"]["invocationId"]
    except (OSError, ValueError, KeyError, TypeError):
        run_id = path.name
    return SentRun(path, str(run_id))


def verify_bundle(bundle: Path, *, trust: Trust | None = None, checkpoint: Checkpoint | None = None) -> Verification:
    """Verify a bundle file; `checkpoint` is one of the sender's ledger that was given earlier. Without `trust`
    its signatures are checked against the keys it brings along, and a note says so. Writes only to a temporary
    directory, and only after the whole file list was found harmless.
    """
    try:
        with _opened(bundle) as root:
            return _verify_unpacked(root, trust, _repacked(bundle, root, root.name), checkpoint)
    except NO_BUNDLE as error:
        return Verification(bundle.name, (Problem(bundle.name, "refused", f"it is not a bundle: {error}"),))


@dataclass(frozen=True)
class Sent:
    """A bundle that is open for reading: its folder, its run, what was found when it was verified.

    `left_out` says what did not come along: name, why, sha256. A `public` one holds no seal, and of the run only what
    may be shown.
    """

    root: Path
    run: RunDir
    verification: Verification
    left_out: tuple[dict[str, Any], ...] = ()
    public: bool = False

    def needs_the_seal(self, what: str) -> None:
        """Raise UsageError for a public bundle, from which nobody can do `what`."""
        if self.public:
            raise UsageError(
                f"This is a public bundle, made with `evidence bundle --public`: it cannot be {what}: it has neither "
                "the seal nor the inputs, code and notebook. Ask the sender for a whole one."
            )


@contextmanager
def open_sent(sent: Path, *, trust: Trust | None = None) -> Iterator[Sent]:
    """Verify a bundle, zip or unpacked, and yield it. Raises VerificationError for what is none, and for problems."""
    if sent.is_dir():
        found = verify_path(sent, trust=trust)
        found.raise_for_problems()
        yield _sent(sent.absolute(), found)
        return
    with ExitStack() as stack:
        try:
            root = stack.enter_context(_opened(sent))
            found = _verify_unpacked(root, trust, _repacked(sent, root, root.name))
        except NO_BUNDLE as error:
            raise VerificationError(f"{sent} is not a bundle: {error}.") from None
        found.raise_for_problems()
        yield _sent(root, found)


def _sent(root: Path, found: Verification) -> Sent:
    name = SIGNED if (root / SIGNED).exists() else UNSIGNED
    if not (root / name).exists():
        return Sent(root, _sent_run(root), found)
    data = (root / name).read_bytes()
    statement = parse_canonical(read_envelope(data).payload if name == SIGNED else data)
    predicate, public = statement["predicate"], statement["predicateType"] == PUBLIC_TYPE
    return Sent(root, RunDir(root, predicate["run_id"]), found, left_out_in(predicate), public)


@contextmanager
def _opened(bundle: Path) -> Iterator[Path]:
    """Yield the folder of a bundle's files in a temporary directory; raises ValueError before anything is written."""
    with zipfile.ZipFile(_checked(bundle)) as archive, _unpacked(archive, _folder(archive, bundle)) as root:
        yield root


def _checked(bundle: Path) -> Path:
    """Look at the zip's last record before anything parses the rest; raises ValueError."""
    size = bundle.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{size} bytes are more than {MOST_BYTES}")
    with bundle.open("rb") as file:
        file.seek(max(size - END.size, 0))
        tail = file.read()
    if len(tail) < END.size or not tail.startswith(b"PK\5\6"):
        raise ValueError("the zip's last record is not where it belongs")
    _, disk, disk_start, here, total, length, offset, comment = END.unpack(tail)
    if disk or disk_start or here != total or comment or offset + length + END.size != size or total > MOST_FILES:
        raise ValueError("the zip's last record does not fit the file")
    return bundle


def _folder(archive: zipfile.ZipFile, bundle: Path) -> str:
    """Check every name and attribute; return the one folder all files are in. Raises ValueError."""
    folder, seen, total = "", set(), 0
    for info in archive.infolist():
        name = info.filename
        top, _, rest = name.partition("/")
        form = unicodedata.normalize("NFC", name)
        if not is_plain_name(info.orig_filename) or name != info.orig_filename or not rest or form != name:
            raise ValueError(f"the name {name!r} is not plain")
        if one_form(name) in seen:
            raise ValueError(f"the name {name!r} is there twice")
        if info.flag_bits & ~FLAG_UTF8 or info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name!r} is encrypted or compressed; a bundle is neither")
        if info.external_attr >> 16 != 0o100644 or info.compress_size != info.file_size:
            raise ValueError(f"{name!r} is not a regular file")
        folder = folder or top
        if top != folder or not top.startswith(PREFIX):
            raise ValueError(f"{name!r} is not in the bundle's folder")
        seen.add(one_form(name))
        total += info.file_size
    if not folder or total > bundle.stat().st_size:
        raise ValueError("its files are larger than itself, or there are none")
    return folder


@contextmanager
def _unpacked(archive: zipfile.ZipFile, folder: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="evidence-bundle-") as directory:
        root = Path(directory).resolve() / folder
        for info in archive.infolist():
            target = root.parent / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file, archive.open(info) as content:
                while block := content.read(1 << 20):
                    file.write(block)
        yield root


def _repacked(bundle: Path, root: Path, folder: str) -> list[Problem]:
    """Pack the files again and compare: a bundle's bytes depend on nothing but its files."""
    with tempfile.TemporaryFile() as again:
        write_zip(again, folder, {name: root / name for name in list_files(root)})
        again.seek(0)
        with bundle.open("rb") as file:
            while block := file.read(1 << 20):
                if again.read(len(block)) != block:
                    text = "it was packed by another program, or changed between its files: unpack it and verify --path"
                    return [Problem(bundle.name, "repacked", text)]
    return []


def _verify_unpacked(
    root: Path, trust: Trust | None, found: list[Problem] | None = None, checkpoint: Checkpoint | None = None
) -> Verification:
    name = SIGNED if (root / SIGNED).exists() else UNSIGNED
    try:
        data = (root / name).read_bytes()
        signed = read_envelope(data) if name == SIGNED else None
        statement = parse_canonical(signed.payload if signed else data)
        predicate, run_id = statement["predicate"], statement["predicate"]["run_id"]
        listed = digests_by_name(statement)
        run = RunDir(root, run_id if RUN_ID.fullmatch(run_id) else "")
        public = statement["predicateType"] == PUBLIC_TYPE
        left_out_in(predicate)
        shown = verify_public(run_id, predicate, listed, name) if public else None
    except Exception as error:  # noqa: BLE001 - whatever a stranger wrote there, it is one problem
        return Verification(root.name, (Problem(name, "edited", f"it cannot be read ({error})"),))
    if statement.get("_type") != STATEMENT_TYPE or statement["predicateType"] not in (BUNDLE_TYPE, PUBLIC_TYPE):
        return Verification(root.name, (Problem(name, "unknown schema", "a newer evidence-chain may know it"),))
    notes: list[str] = []
    problems = list(found or [])
    brought = trust is None
    trust = trust or _brought_along(root, notes, problems)
    of_list = [Problem(name, *what) for what in trust.check(signed, None, bounded=False)] if signed and trust else []
    vouched = trust is not None and signed is not None and not of_list
    # Who signed the list of all files vouches for what was not signed when it was made.
    result = shown or verify_run(run, trust=replace(trust, named=False) if trust and vouched else trust)
    if shown and signed:
        known = trust.find(signed.keyid) if trust else None
        result = replace(shown, signer=known.name if known else signed.keyid)
    problems += [*result.problems, *of_list]
    if signed is None:
        notes.append("the bundle is unsigned: its README, keys and ledger proof are the word of whoever packed it")
    if signed is None and trust is not None and trust.demands:
        problems.append(Problem(name, "unsigned", f"{trust.source} asks for a signature"))
    told = _Told(run.run_id, result.manifest_sha256, ended(predicate) if public else _ended(run))
    problems += _ledger_problems(root, told, predicate.get("ledger"), trust, notes=notes)
    problems += leaf_problems(root, predicate.get("ledger"), checkpoint, notes)
    if predicate.get("manifest_sha256") != result.manifest_sha256:
        problems.append(Problem(name, "edited", "it is about another seal than the one that is here"))
    problems += _luggage_problems(run, listed) if not result.problems and not public else []
    adopted = _adoption(root)
    notes += [] if adopted is None else [f"adopted, entry {adopted}: {ADOPTED}"]
    named = {f"{run.run_id}/{problem.path}" for problem in result.problems}
    problems += [problem for problem in _content_problems(root, name, listed) if problem.path not in named]
    return replace(
        result,
        problems=tuple(problems),
        notes=(*result.notes, *notes),
        trusted=vouched and not brought,
        sent=True,
        adopted=adopted,
    )


def _brought_along(root: Path, notes: list[str], problems: list[Problem]) -> Trust | None:
    keys: list[TrustedKey] = []
    for path in sorted((root / KEYS).glob("*.pem")):
        try:
            keys.append(trusted(path.read_text(encoding="ascii"), f"the bundle's key {path.name}"))
        except (OSError, ValueError) as error:
            problems.append(Problem(f"{KEYS}/{path.name}", "refused", f"it cannot be read as a public key: {error}"))
    if not keys:
        return None
    ids = ", ".join(key.keyid for key in keys)
    notes.append(
        f"checked with the keys the bundle brings along: ask the sender, by another way, whether theirs is {ids}"
    )
    return Trust(tuple(keys), source="the bundle's keys")


def _content_problems(root: Path, statement: str, listed: dict[str, str]) -> Iterator[Problem]:
    present = set(list_files(root)) - {SUMS, statement}
    for name in sorted(present | listed.keys()):
        path = root / name
        if name not in listed:
            yield Problem(name, "added", "the bundle's statement does not list it")
        elif name not in present:
            yield Problem(name, "missing", "the bundle's statement lists it")
        elif path.is_symlink() or not path.is_file() or sha256_file(path) != listed[name]:
            yield Problem(name, "edited", "it is not the file that was packed")
    digests = {**listed, statement: sha256_file(root / statement)}
    if not (root / SUMS).is_file() or (root / SUMS).read_bytes() != sums(digests):
        yield Problem(SUMS, "edited", "it is not the list of this bundle's files")


def _luggage_problems(run: RunDir, listed: dict[str, str]) -> Iterator[Problem]:
    """Yield inputs and modules that came along and are not what the seal says the run was made from."""
    manifest = parse_canonical(run.manifest.read_bytes())
    sealed = {item.get("digest", {}).get("sha256") for item in _made_from(manifest)}
    for name in sorted(name for name in listed if name.startswith((f"{INPUTS}/", f"{CODE}/"))):
        if listed[name] not in sealed:
            yield Problem(name, "added", "the run was not made from it: its seal names no input with this digest")


def _made_from(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifest["predicate"]["buildDefinition"]["resolvedDependencies"]
    return found


def _fits(entry: Entry, proof: Any, checkpoint: Checkpoint) -> bool:
    """Say whether the entry is the one that the proof counts, in a ledger that ends where the checkpoint says."""
    last = entry.digest == checkpoint.digest or proof["index"] < proof["size"] - 1
    return bool(entry.seq == proof["index"] and checkpoint.seq == proof["size"] - 1 and last)


def _ended(run: RunDir) -> str | None:
    """Return when the run ended, as its manifest says; None for one that cannot be read, which is a problem already."""
    try:
        return str(parse_canonical(run.manifest.read_bytes())["predicate"]["runDetails"]["metadata"]["finishedOn"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _adoption(root: Path) -> int | None:
    """Return the number of the ledger's entry when it took up a run that was sealed before; else None."""
    try:
        entry = parse_line((root / ENTRY).read_bytes())
    except Exception:  # noqa: BLE001 - as above; it is a problem already, or there is none
        return None
    return entry.seq if entry.event.kind == RUN_ADOPTED else None


@dataclass(frozen=True)
class _Told:
    """What the ledger's entry has to be about: the run, its seal's digest, when it ended."""

    run_id: str
    digest: str | None
    ended: str | None


def _ledger_problems(
    root: Path, told: _Told, proof: Any, trust: Trust | None, *, notes: list[str]
) -> Iterator[Problem]:
    """Check the ledger's entry: about this manifest, signed by a known key, and in the ledger of the checkpoint."""
    if proof is None:
        notes.append("the bundle holds no entry of a ledger")
        return
    try:
        entry: Entry = parse_line((root / ENTRY).read_bytes())
        path = [bytes.fromhex(node) for node in proof["path"]]
        proved = root_from_path(bytes.fromhex(entry.digest), proof["index"], proof["size"], path).hex() == proof["root"]
        checkpoint = Checkpoint.parse(proof["checkpoint"])
    except Exception as error:  # noqa: BLE001 - as above
        yield Problem(ENTRY, "edited", f"it cannot be read as an entry with its proof ({error})")
        return
    if not proved:
        yield Problem(ENTRY, "edited", "its proof does not lead to the root of the ledger")
    if not _fits(entry, proof, checkpoint):
        yield Problem(ENTRY, "edited", "its number, the ledger's length and its checkpoint do not fit together")
    if told.ended is not None and entry.time[:10] < told.ended[:10]:  # by days: a clock may have been set back a little
        yield Problem(ENTRY, "edited", f"it says {entry.time}, before the run ended at {told.ended}")
    about = entry.event.run_id, entry.event.subject_sha256
    if about != (told.run_id, told.digest) or entry.event.kind not in SEALS:
        yield Problem(ENTRY, "edited", "it is not about the seal of this run")
    if entry.signed is not None and trust is not None:
        yield from (Problem(ENTRY, *what) for what in trust.check(entry.signed, entry.time))
    notes.append(f"entry {entry.seq} of a ledger with the checkpoint {checkpoint}")
