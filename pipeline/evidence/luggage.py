"""What goes into a bundle beside its run, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Source = bytes | Path


@dataclass(frozen=True)
class LeftOut:
    """What did not go into a bundle: a name, its SHA-256 where it is one file, and why."""

    name: str
    why: str
    sha256: str | None = None


@dataclass(frozen=True)
class Luggage:
    """What goes along with a run: files by their names in the bundle, which parts they are, and what was left out.

    `scopes` are the numbers of the ledger's entries that show what they tried; None leaves out all leaves. `shown` are
    the sealed files of a public bundle, without seal and report; None is for one with all of the run. `entry` says
    whether the ledger's entry of the seal may be shown.
    """

    files: Mapping[str, Source] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    scopes: frozenset[int] | None = None
    shown: frozenset[str] | None = None
    entry: bool = True


NOTHING = Luggage()
