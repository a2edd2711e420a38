"""Ways to tamper with a run directory: each changes it on disk and returns the paths a verifier may name."""

from __future__ import annotations

import json
import os
import random
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.digest import canonical_json
from pipeline.evidence.dsse import STATEMENT, make_envelope
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import new_signer, seal

SEAL = {"manifest.json", "manifest.dsse.json", "report/index.html", "ledger.jsonl"}


@dataclass(frozen=True)
class Target:
    """A run to tamper with, another one to mix it up with, a directory outside, and chance."""

    run: RunDir
    other: RunDir
    outside: Path
    rng: random.Random

    def files(self) -> list[str]:
        """Return all files of the run, sealed or not."""
        paths = (path for path in self.run.path.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(path.relative_to(self.run.path).as_posix() for path in paths)

    def one(self, *, nonempty: bool = False) -> Path:
        """Return one of the files."""
        names = [name for name in self.files() if not nonempty or (self.run.path / name).stat().st_size]
        return self.run.path / self.rng.choice(names)

    def name(self, *paths: Path) -> set[str]:
        """Return what may be named when `paths` were tampered with."""
        names = {path.relative_to(self.run.path).as_posix() for path in paths}
        related = SEAL if names & {"manifest.json", "manifest.dsse.json"} else set()
        if "manifest.json" in names:  # a file may be named beside it: it no longer is what the manifest says
            related = related | set(self.files())
        if any(name.startswith("report/") for name in names):
            related = related | {"report/statement.dsse.json", "report/index.html"}
        return names | related


def flip(t: Target) -> set[str]:
    path = t.one(nonempty=True)
    data = bytearray(path.read_bytes())
    data[t.rng.randrange(len(data))] ^= 1 << t.rng.randrange(8)
    path.write_bytes(data)
    return t.name(path)


def truncate(t: Target) -> set[str]:
    path = t.one(nonempty=True)
    os.truncate(path, t.rng.randrange(path.stat().st_size))
    return t.name(path)


def extend(t: Target) -> set[str]:
    path = t.one()
    path.write_bytes(path.read_bytes() + t.rng.choice([b"\0", b"\n", b" ", b"}"]))
    return t.name(path)


def add(t: Target) -> set[str]:
    folder = t.rng.choice(["", "plots/", "new/", "report/", "."])
    path = t.run.path / f"{folder}added-{t.rng.randrange(10**6)}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(t.rng.choice([b"", b"x"]))
    return t.name(path)


def remove(t: Target) -> set[str]:
    path = t.rng.choice([path for name in t.files() if not (path := t.run.path / name).match("report/*")])
    path.unlink()
    return t.name(path)


def rename(t: Target) -> set[str]:
    path = t.rng.choice([path for name in t.files() if not (path := t.run.path / name).match("report/*")])
    new = path.with_name(t.rng.choice([path.name.swapcase(), f"{path.name} ", f".{path.name}", "renamed"]))
    path.rename(new)
    return t.name(path, new)


def swap_files(t: Target) -> set[str]:
    a, b = t.one(), t.one()
    while a.read_bytes() == b.read_bytes():
        a, b = t.one(), t.one()
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    return t.name(a, b)


def swap_manifests(t: Target) -> set[str]:
    shutil.copy(t.other.manifest, t.run.manifest)
    if t.rng.random() < 0.5:
        shutil.copy(t.other.signature, t.run.signature)
    return t.name(t.run.manifest, t.run.signature)


def sign_again(t: Target) -> set[str]:
    t.run.signature.write_bytes(make_envelope(t.run.manifest.read_bytes(), STATEMENT, new_signer()))
    return t.name(t.run.signature)


def seal_again(t: Target) -> set[str]:
    t.run.stats.write_bytes(b'{"sharpe": 99}')
    seal(t.run)
    return t.name(t.run.manifest)


def reformat(t: Target) -> set[str]:
    path = t.rng.choice([t.run.manifest, t.run.signature, t.run.report_statement])
    value = json.loads(path.read_bytes())
    escaped = json.dumps(value, sort_keys=True, separators=(",", ":")).replace("in-toto", "in\\u002dtoto", 1)
    twice = path.read_text().replace("{", '{"_type":"x",' if path == t.run.manifest else '{"payload":"eA==",', 1)
    path.write_text(t.rng.choice([json.dumps(value), json.dumps(value, indent=1), escaped, twice]))
    return t.name(path)


def link_out(t: Target) -> set[str]:
    path = t.one()
    copy = t.outside / f"copy-{t.rng.randrange(10**9)}"
    shutil.copy(path, copy)
    path.unlink()
    path.symlink_to(copy)
    return t.name(path)


def link_folder_out(t: Target) -> set[str]:
    copy = t.outside / f"copy-{t.rng.randrange(10**9)}"
    inside = [path for path in t.run.plots.rglob("*") if path.is_file()]
    shutil.move(t.run.plots, copy)
    t.run.plots.symlink_to(copy)
    return t.name(t.run.plots, *inside)


def pipe(t: Target) -> set[str]:
    path = t.run.path / t.rng.choice(t.run.sealed_paths())
    path.unlink()
    os.mkfifo(path)
    return t.name(path)


def lead_out(t: Target) -> set[str]:
    names = ["../outside", "/etc/hostname", "a/../../b", "a\\..\\b", "C:/x", "./stats.json", "a//b", "", "x\0y"]
    return _subject(t, lambda entry: entry | {"name": t.rng.choice(names)})


def list_twice(t: Target) -> set[str]:
    return _subject(t, lambda entry: entry)


def list_a_twin(t: Target) -> set[str]:
    twin = unicodedata.normalize("NFD", "plots/é.png"), unicodedata.normalize("NFC", "plots/é.png")
    manifest = json.loads(t.run.manifest.read_bytes())
    manifest["subject"] += [manifest["subject"][0] | {"name": name} for name in twin]
    t.run.manifest.write_bytes(canonical_json(manifest))
    return t.name(t.run.manifest)


def huge_number(t: Target) -> set[str]:
    text = t.run.manifest.read_text()
    number = t.rng.choice(["9" * 400, "1e999", "-0", "1.0", "NaN", "9007199254740993", "1" * 5000])
    t.run.manifest.write_text(text.replace('"size":', f'"size":{number},"x":', 1))
    return t.name(t.run.manifest)


def add_a_twin(t: Target) -> set[str]:
    path = t.run.plots / unicodedata.normalize("NFD", "é.png")
    path.write_bytes(b"x")
    return t.name(path)


def _subject(t: Target, change: Callable[[dict[str, object]], dict[str, object]]) -> set[str]:
    manifest = json.loads(t.run.manifest.read_bytes())
    manifest["subject"].append(change(dict(t.rng.choice(manifest["subject"]))))
    t.run.manifest.write_bytes(canonical_json(manifest))
    return t.name(t.run.manifest)


WAYS = (
    flip,
    truncate,
    extend,
    add,
    remove,
    rename,
    swap_files,
    swap_manifests,
    sign_again,
    seal_again,
    reformat,
    link_out,
    link_folder_out,
    pipe,
    lead_out,
    list_twice,
    list_a_twin,
    huge_number,
    add_a_twin,
)
