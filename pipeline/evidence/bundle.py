"""The bundle: one run as a zip that a stranger can check without this project.

    evidence-<run_id>/
      README.txt  SHA256SUMS  verify.py
      bundle.dsse.json     all other files with their digests, the ledger's checkpoint and the entry's proof
      keys/*.pem           public keys of who signed
      ledger/entry.json    the ledger's entry of the seal
      ledger/leaves.jsonl  of every entry what the sender shows, and hashes of the rest
      inputs/<sha256>…     data, benchmark and input notebook, by their digests
      code/…               the modules of the project that the run imported, where Python finds them from there
      package/pipeline/…   this package as it was
      <run_id>/…           the run directory, report and signatures included

A public one has of the run only files that may be public, each as it was sealed, and `public-report.html`, made for
it; the seal and all else is left out, and the signed list names it with its digest.

The same run, ledger and key give the same bytes: no times, no modes, sorted, not compressed.
"""

from __future__ import annotations

import contextlib
import unicodedata
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.digest import sha256_bytes, sha256_file
from pipeline.errors import StorageError, UsageError, VerificationError
from pipeline.evidence import standalone
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.keys import signer_pem
from pipeline.evidence.leaves import ENTRY, LEAVES, leaves_of
from pipeline.evidence.ledger import Entry
from pipeline.evidence.ledger_check import LedgerCheck, check_ledger
from pipeline.evidence.luggage import NOTHING, Luggage, Source
from pipeline.evidence.manifest import STATEMENT_TYPE
from pipeline.evidence.merkle import root_and_path
from pipeline.evidence.readme import readme
from pipeline.evidence.strict_json import canonical, parse_canonical
from pipeline.evidence.trust import Trust, trusted
from pipeline.evidence.verify import verify_run
from pipeline.file_names import is_plain_name, one_form
from pipeline.files import replace_file
from pipeline.rundir import RunDir

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

PREFIX = "evidence-"
README = "README.txt"
PROGRAM = "verify.py"
SUMS = "SHA256SUMS"
SIGNED = "bundle.dsse.json"
UNSIGNED = "bundle.json"
KEYS = "keys"
INPUTS, CODE, PACKAGE = "inputs", "code", "package"
BUNDLE_TYPE = "urn:evidence-chain:bundle:v1"
PUBLIC_TYPE = "urn:evidence-chain:public-bundle:v1"
PUBLIC_REPORT = "public-report.html"
MOST_FILES = 10_000
MOST_BYTES = 2**31  # of the zip
PER_FILE = 30 + 46 + 2 * 46  # bytes that the zip spends on a file beside its content: records, twice the folder's name
AT_ITS_END = 22


@dataclass(frozen=True)
class BundleInfo:
    """A bundle as written: file, SHA-256, bytes, number of files in it, whether it is signed."""

    path: Path
    sha256: str
    size: int
    files: int
    signed: bool


def make_bundle(
    run: RunDir,
    output: Path,
    *,
    ledger: LedgerCheck | Path | None = None,
    signer: Signer | None = None,
    trust: Trust | None = None,
    luggage: Luggage = NOTHING,
) -> BundleInfo:
    """Write a bundle of one run to `output`, with `luggage`; `ledger` is a path, or one that was checked before.

    What is wrong with the signatures of other runs' entries is no obstacle: the proof needs the chain, and the entry
    of this run. Raises VerificationError for a run that does not verify or a damaged chain, UsageError for what no
    verifier would take (names, MOST_FILES, MOST_BYTES), StorageError.
    """
    chain = check_ledger(ledger) if isinstance(ledger, Path) and ledger.is_file() else ledger
    chain = None if isinstance(chain, Path) else chain
    if chain is not None and chain.damage:
        raise VerificationError(f"No proof can be made from a damaged ledger: {chain.damage[0]}")
    verify_run(run, trust=trust, ledger=chain).raise_for_problems()
    files = _files(run, chain, signer, trust, luggage)
    partial = output.parent / f".{output.name}.partial"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write_zip(file, f"{PREFIX}{run.run_id}", files)
        replace_file(partial, output)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageError(f"The bundle {output} could not be written: {error.strerror}.") from error
    return BundleInfo(output, sha256_file(output), output.stat().st_size, len(files), SIGNED in files)


def write_zip(file: IO[bytes], folder: str, files: Mapping[str, Source]) -> None:
    """Write files below `folder` as a zip whose bytes depend on nothing but names and contents."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            source = files[name]
            info = zipfile.ZipInfo(f"{folder}/{name}", (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            info.file_size = size_of(source)
            with archive.open(info, "w") as target:
                _copy(source, target)


def _copy(source: Source, target: IO[bytes]) -> None:
    if isinstance(source, bytes):
        target.write(source)
        return
    with source.open("rb") as content:
        while block := content.read(1 << 20):
            target.write(block)


def sums(digests: Mapping[str, str]) -> bytes:
    """Return SHA256SUMS as `sha256sum` writes it, over everything but itself."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests) if name != SUMS).encode()


def size_of(source: Source) -> int:
    """Return the number of bytes of bytes or of a file."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def digest_of(source: Source) -> str:
    """Return the SHA-256 of bytes or of a file."""
    return sha256_bytes(source) if isinstance(source, bytes) else sha256_file(source)


def _files(
    run: RunDir, chain: LedgerCheck | None, signer: Signer | None, trust: Trust | None, luggage: Luggage
) -> dict[str, Source]:
    whole = [*run.sealed_paths(), run.manifest.name, run.signature.name, *run.report_paths()]
    names = whole if luggage.shown is None else sorted(luggage.shown)
    files: dict[str, Source] = {f"{run.run_id}/{n}": run.path / n for n in names if (run.path / n).is_file()}
    files |= luggage.files
    _refuse_twins(files)
    _refuse_too_much(files)
    entry = chain.seal_of(run.run_id) if chain and luggage.entry else None
    if chain and entry:
        files[ENTRY] = line_of(chain, entry)
        if luggage.scopes is not None:
            files[LEAVES] = leaves_of(chain, luggage.scopes)
    envelopes = [run.signature, run.report_statement] if luggage.shown is None else []
    keys = _keys(envelopes, entry, signer, trust)
    files |= {f"{KEYS}/{keyid[:16]}.pem": pem.encode() for keyid, pem in keys.items()}
    files[README] = _readme(run, luggage).encode()
    files[PROGRAM] = standalone.source()
    digests = {name: digest_of(source) for name, source in files.items()}
    payload = canonical(_statement(run, chain, entry, digests, luggage))
    name = SIGNED if signer else UNSIGNED
    files[name] = make_envelope(payload, STATEMENT, signer) if signer else payload
    files[SUMS] = sums({**digests, name: digest_of(files[name])})
    _refuse_too_much(files)
    return files


def _readme(run: RunDir, luggage: Luggage) -> str:
    return readme(
        run.run_id,
        program=PROGRAM,
        sums=SUMS,
        parts=luggage.parts,
        left_out=luggage.left_out,
        public=luggage.shown is not None,
        report=PUBLIC_REPORT if PUBLIC_REPORT in luggage.files else None,
    )


def _refuse_twins(files: Mapping[str, Source]) -> None:
    forms: dict[str, str] = {}
    for name in files:
        if not is_plain_name(name) or unicodedata.normalize("NFC", name) != name:
            raise UsageError(f"{name!r} cannot go into a bundle: on some systems it is another name.")
        if (other := forms.setdefault(one_form(name), name)) != name:
            raise UsageError(f"{name!r} cannot go into a bundle: some systems take it for {other!r}.")


def _refuse_too_much(files: Mapping[str, Source]) -> None:
    """Raise UsageError for more than a verifier takes from a stranger."""
    if len(files) > MOST_FILES:
        raise UsageError(
            f"The bundle would hold {len(files):,} files, and no verifier takes more than {MOST_FILES:,}. Leave "
            "inputs and code out (--with none), or have the notebook write fewer files."
        )
    size = AT_ITS_END + sum(PER_FILE + 2 * len(name.encode()) + size_of(source) for name, source in files.items())
    if size > MOST_BYTES:
        largest = max(files, key=lambda name: size_of(files[name]))
        raise UsageError(
            f"The bundle would be {size:,} bytes long, and no verifier takes more than {MOST_BYTES:,}. Its largest "
            f"file is {largest} with {size_of(files[largest]):,}. Leave inputs and code out (--with none), or have the "
            "notebook keep less."
        )


def line_of(chain: LedgerCheck, entry: Entry) -> bytes:
    """Return the line of an entry, exactly as it stands in the ledger."""
    return chain.path.read_bytes().split(b"\n")[chain.entries.index(entry)]


def _keys(envelopes: Iterable[Path], entry: Entry | None, signer: Signer | None, trust: Trust | None) -> dict[str, str]:
    """Return the public keys, by keyid, of who signed what comes along, as far as they are known here."""
    own = [trusted(signer_pem(signer), "signer")] if signer else []
    known = {key.keyid: key.pem for key in (*own, *(trust.keys if trust else ()))}
    wanted = {read_envelope(path.read_bytes()).keyid for path in envelopes if path.is_file()}
    wanted |= {signer.public_key.keyid} if signer else set()
    wanted |= {entry.signer} if entry and entry.signer else set()
    return {keyid: known[keyid] for keyid in sorted(wanted) if keyid in known}


def _statement(
    run: RunDir, chain: LedgerCheck | None, entry: Entry | None, digests: Mapping[str, str], luggage: Luggage
) -> dict[str, Any]:
    along = {"with": list(luggage.parts), "left_out": [asdict(item) for item in luggage.left_out]}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)],
        "predicateType": BUNDLE_TYPE if luggage.shown is None else PUBLIC_TYPE,
        "predicate": {
            "run_id": run.run_id,
            "manifest_sha256": sha256_file(run.manifest),
            "ledger": _proof(chain, entry) if chain and entry else None,
            **({} if luggage == NOTHING else along),
            **({} if luggage.shown is None else {"sealed": _sealed(run)}),
        },
    }


def _sealed(run: RunDir) -> dict[str, str]:
    """Return what a public bundle says of the seal, beside its digest."""
    predicate = parse_canonical(run.manifest.read_bytes())["predicate"]
    return {
        "status": predicate["evidence_run"]["status"],
        "finished_on": predicate["runDetails"]["metadata"]["finishedOn"],
    }


def _proof(chain: LedgerCheck, entry: Entry) -> dict[str, Any]:
    """Prove that the entry is in the ledger without showing the others: an audit path of RFC 6962."""
    index = chain.entries.index(entry)
    root, path = root_and_path([bytes.fromhex(other.digest) for other in chain.entries], index)
    return {
        "checkpoint": str(chain.head),
        "size": len(chain.entries),
        "index": index,
        "root": root.hex(),
        "path": [node.hex() for node in path],
    }
