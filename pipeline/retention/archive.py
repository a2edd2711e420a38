"""The archive of a run: its bundle with the kept inputs it used, compressed as a whole.

results/.archive/evidence-<run_id>.zip.xz

`xz -dk` or any unpacker gives the bundle, which verifies as every bundle does, without this project. It is compressed
as a whole because a bundle itself never is: a verifier takes no zip that could expand.
"""

from __future__ import annotations

import lzma
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.digest import sha256_file
from pipeline.errors import StorageError, VerificationError
from pipeline.evidence.bundle import INPUTS, MOST_BYTES, make_bundle
from pipeline.evidence.inputs import find_kept, use_kept
from pipeline.evidence.luggage import Luggage
from pipeline.evidence.unbundle import Sent, open_sent
from pipeline.files import list_files, replace_file
from pipeline.retention.intent import sync_directory
from pipeline.retention.kept_inputs import inputs_of
from pipeline.rundir import INPUTS_DIR, PRUNING_DIR, RunDir

if TYPE_CHECKING:
    from pipeline.evidence.ledger_check import LedgerCheck
    from pipeline.evidence.signer import Signer
    from pipeline.evidence.trust import Trust

PRESET = 3
BLOCK = 1 << 20
NO_XZ = (lzma.LZMAError, EOFError, OSError)


def make_archive(run: RunDir, *, ledger: LedgerCheck, signer: Signer | None, trust: Trust | None) -> str:
    """Write the archive of a run, durably, and read it back; return its SHA-256.

    Raises VerificationError for a run that does not verify or an archive that does not hold its files, StorageError,
    and UsageError for what no bundle holds.
    """
    kept = [path for digest in inputs_of(run) if (path := find_kept(run.results, digest)) is not None]
    luggage = Luggage({f"{INPUTS}/{path.name}": path for path in kept}, (INPUTS,) if kept else ())
    with _room(run) as directory:
        bundle, packed = directory / f"evidence-{run.run_id}.zip", directory / run.archive.name
        make_bundle(run, bundle, ledger=ledger, signer=signer, trust=trust, luggage=luggage)
        try:
            _compress(bundle, packed)
            with opened_archive(packed, trust=trust) as sent:
                _compare(run, sent)
            run.archive.parent.mkdir(parents=True, exist_ok=True)
            replace_file(packed, run.archive)
        except OSError as error:
            raise StorageError(f"{run.archive} could not be written: {error.strerror}. Free space.") from error
    sync_directory(run.archive.parent)
    return sha256_file(run.archive)


@contextmanager
def opened_archive(archive: Path, *, trust: Trust | None) -> Iterator[Sent]:
    """Yield the bundle in an archive, verified; raises VerificationError."""
    with unpacked(archive) as bundle, open_sent(bundle, trust=trust) as sent:
        yield sent


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Yield the bundle in an archive as a file of its own; raises VerificationError for what is no archive."""
    with tempfile.TemporaryDirectory(prefix="evidence-archive-") as directory:
        bundle = Path(directory) / archive.name.removesuffix(".xz")
        try:
            with lzma.open(archive) as source, bundle.open("xb") as target:
                left = MOST_BYTES
                while block := source.read(BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise VerificationError(f"{archive} holds more than any bundle does.")
                    target.write(block)
        except NO_XZ as error:
            raise VerificationError(f"{archive} is not an archive: {error}.") from None
        yield bundle


def inputs_in(sent: Sent) -> tuple[Path, ...]:
    """Return the kept inputs in an archive that is open; each name begins with its SHA-256."""
    place = sent.root / INPUTS
    return tuple(sorted(place.iterdir())) if place.is_dir() else ()


def unpack_run(run: RunDir, sent: Sent) -> None:
    """Put the directory of an archived run, and its kept inputs, back; each file appears whole or not at all.

    Raises VerificationError for an archive of another run, and StorageError.
    """
    if sent.run.run_id != run.run_id:
        raise VerificationError(f"{run.archive} is of the run {sent.run.run_id}.")
    try:
        with _room(run) as directory:
            for kept in inputs_in(sent):
                target = run.results / INPUTS_DIR / kept.name
                if use_kept(target) is None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    replace_file(_copied(kept, directory / kept.name), target)
            shutil.rmtree(run.going, ignore_errors=True)
            for name in list_files(sent.run.path):
                _copied(sent.run.path / name, run.going / name)
        for place in [run.going, *(path for path in run.going.rglob("*") if path.is_dir())]:
            sync_directory(place)
        run.going.rename(run.path)
    except OSError as error:
        raise StorageError(f"{run.path} could not be written: {error.strerror}. Free space.") from error
    sync_directory(run.results)


def _copied(source: Path, target: Path) -> Path:
    """Copy a file durably, and return the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as content, target.open("wb") as file:
        shutil.copyfileobj(content, file, BLOCK)
        file.flush()
        os.fsync(file.fileno())
    return target


def _compare(run: RunDir, sent: Sent) -> None:
    """Raise VerificationError unless the archive holds every file of the run directory, byte for byte."""
    names = list_files(run.path)
    if names != list_files(sent.run.path):
        other = sorted({*names} ^ {*list_files(sent.run.path)})
        raise VerificationError(f"The run {run.run_id} has files that no bundle takes along: {', '.join(other)}.")
    for name in names:
        if sha256_file(run.path / name) != sha256_file(sent.run.path / name):
            raise VerificationError(f"{run.path / name} changed while it was archived.")


def _compress(source: Path, target: Path) -> None:
    with target.open("xb") as file:
        with lzma.open(file, "wb", preset=PRESET) as packed, source.open("rb") as content:
            shutil.copyfileobj(content, packed, BLOCK)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _room(run: RunDir) -> Iterator[Path]:
    """Yield a directory on the file system of the results."""
    place = run.results / PRUNING_DIR
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="archive-", dir=place) as directory:
        yield Path(directory)
