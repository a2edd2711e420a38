"""Secrets that a sealed run holds in clear: one from before they were masked, or whose notebook wrote one itself.

A seal cannot be mended, so what goes out to others is looked at before.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.files import read_json
from pipeline.layout import MANIFEST
from pipeline.masking import MASK, has_secret, mask_table
from pipeline.rundir import RunDir
from pipeline.secrets import Secrets, of_this_process

BETWEEN = b"://"  # looked for first: a file can be large, and has few of these
SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*$")
REST = re.compile(rb"://[^\s\"'<>\\]+")  # as a file holds it: JSON ends text with a quote
LONGEST, LONGEST_SCHEME = 4096, 31  # bytes of an address that are looked at
CARRIES = re.compile(rb"[@?]")  # no address without one of these has a secret
FILLED_IN = re.compile(r"\{[^{}]*\}|\$\{?\w+\}?")  # what source code has in the place of one
AFTER = ".,;:)]}"  # an address in a sentence


def unmasked_files(run: RunDir) -> list[str]:
    """Return the paths, in a run directory, of the files that hold a secret in clear; those in `report/` included.

    Secret are values that the run's own config has under the name of one, addresses with a password or a token, and
    what this process's environment has. The signature holds what the seal does. Base64, archives and Parquet are not
    looked into.
    """
    known = [_of_config(run), of_this_process()]
    names = [name for name in (*run.sealed_paths(), MANIFEST, *run.report_paths()) if (run.path / name).is_file()]
    found = [name for name in names if _holds(run.path / name, known)]
    signed = MANIFEST in found and run.signature.is_file()
    return [*found, run.signature.name] if signed else found


def _of_config(run: RunDir) -> Secrets:
    """Return what the run's config holds under names of secrets; nothing of one that was masked."""
    try:
        config = read_json(run.config_json)
    except (OSError, ValueError):
        return Secrets()
    return Secrets(mask_table(config)[1])


def _holds(path: Path, known: list[Secrets]) -> bool:
    return any(secrets.named_in_file(path) for secrets in known) or any(map(has_secret, _addresses(path)))


def _addresses(path: Path) -> Iterator[str]:
    if path.is_symlink() or not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(BETWEEN)
        while at >= 0:
            rest = REST.match(content[at : at + LONGEST])
            whole = content[max(0, at - LONGEST_SCHEME) : at] + (rest[0] if rest else BETWEEN)
            if CARRIES.search(whole):
                ends = {whole.find(BETWEEN), whole.rfind(BETWEEN)}  # one may be within another
                yield from (_as_meant(whole, end) for end in ends)
            at = content.find(BETWEEN, at + (len(rest[0]) if rest else len(BETWEEN)))


def _as_meant(data: bytes, end: int) -> str:
    """Return the address whose scheme ends there, as a program reads it."""
    scheme = SCHEME.search(data[max(0, end - LONGEST_SCHEME) : end])
    address = (scheme[0] if scheme else b"") + data[end:]
    return FILLED_IN.sub(MASK, address.decode("utf-8", "replace")).rstrip(AFTER)
