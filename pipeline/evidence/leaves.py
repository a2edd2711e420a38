"""All leaves of the ledger in a bundle: the ledger's tree is rebuilt from them, and its trials are counted.

    ledger/leaves.jsonl   one line an entry: {"public": {…}, "scope": {…} or its hash, "private": its hash},
                          of an entry of format 1 {"digest": …}, which says nothing

What an entry that is hidden tried is not known, so of the run's family there are at least those that are shown to be of
it, and at most those that are not shown to be of another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evidence.leaf import COUNTING, PUBLIC, SCOPE, TRIED, VERSION, digest_of_hashes, hash_of, leaf_of
from pipeline.evidence.ledger import START, TRIALS_ENDED, Checkpoint, Entry, Event, parse_line
from pipeline.evidence.ledger_check import CONTRADICTION, LedgerCheck
from pipeline.evidence.ledger_trials import Counted, LedgerTrials, trials_in
from pipeline.evidence.merkle import root_of
from pipeline.evidence.problem import Problem
from pipeline.evidence.strict_json import LONGEST_READ, parse_canonical
from pipeline.evidence.trial import Scope

ENTRY = "ledger/entry.json"
LEAVES = "ledger/leaves.jsonl"


@dataclass(frozen=True)
class LeafCount:
    """What the leaves of a ledger count until the run they came with: `total` trials of all strategies.

    Of the run's family are `least` at least and `most` at most. `older` entries say nothing: all numbers are then at
    least so large. `problems` are (seq, sentence) of leaves that contradict earlier ones.
    """

    leaves: int
    older: int
    total: int
    least: int
    most: int
    problems: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        few = "at least " if self.older else ""
        text = f"the ledger's {self.leaves} leaves count {few}{self.total} trials until this run"
        family = f"{self.least}" if self.least == self.most and not self.older else f"at least {self.least}"
        family += f" and at most {self.most}" if self.most > self.least and not self.older else ""
        old = f"; its {self.older} oldest entries are digests, and may count any number" if self.older else ""
        return f"{text}, {family} of its family{old}"


def leaves_of(chain: LedgerCheck, scopes: Collection[int]) -> bytes:
    """Return the leaves of a ledger that was checked; entries whose numbers are in `scopes` show what they tried."""
    lines = chain.path.read_bytes().split(b"\n")[: len(chain.entries)]
    return b"".join(leaf_of(line, scope=seq in scopes) + b"\n" for seq, line in enumerate(lines))


def leaf_problems(
    root: Path, proof: dict[str, Any], checkpoint: Checkpoint | None, notes: list[str]
) -> Iterator[Problem]:
    """Check the leaves in an unpacked bundle, and add to `notes` how many trials they count."""
    path = root / LEAVES
    if not path.is_file():
        if checkpoint is not None:
            yield Problem(LEAVES, "missing", "the ledger's leaves did not come along: no checkpoint can be looked for")
        return
    try:
        data = path.read_bytes() if path.stat().st_size <= LONGEST_READ else b""
        found = count_leaves(data, proof, parse_line((root / ENTRY).read_bytes()), checkpoint)
    except Exception as error:  # noqa: BLE001 - whatever a stranger wrote there, it is one problem
        yield Problem(LEAVES, "edited", f"it does not hold the leaves of the ledger ({error})")
        return
    yield from (Problem(LEAVES, CONTRADICTION, f"entry {seq}: {text}") for seq, text in found.problems)
    notes.append(str(found))


def count_leaves(data: bytes, proof: dict[str, Any], own: Entry, checkpoint: Checkpoint | None = None) -> LeafCount:
    """Rebuild the ledger from its leaves and count; raises ValueError for what are not all leaves of `proof`'s ledger.

    `own` is the entry that the proof is of; `checkpoint` is one of the ledger that was given earlier.
    """
    leaves = [_Leaf.of(line) for line in data.splitlines()]
    digests = [leaf.digest for leaf in leaves]
    root = root_of([bytes.fromhex(digest) for digest in digests]).hex() if digests else ""
    if (len(leaves), root) != (proof["size"], proof["root"]) or digests[proof["index"]] != own.digest:
        raise ValueError("they are not all leaves of the ledger that the proof is of")
    if proof["checkpoint"] != str(Checkpoint(len(leaves) - 1, digests[-1])):
        raise ValueError("the ledger has another end than its checkpoint says")
    if checkpoint is not None and digests[checkpoint.seq : checkpoint.seq + 1] != [checkpoint.digest]:
        raise ValueError(f"the ledger has no entry {checkpoint}: it was cut, or written anew, since")
    older = next((seq for seq, leaf in enumerate(leaves) if leaf.public), len(leaves))
    for seq, leaf in enumerate(leaves[older:], older):
        if leaf.place != (VERSION, seq, digests[seq - 1] if seq else START):
            raise ValueError(f"leaf {seq} is not the entry that belongs there")
    found = trials_in(leaf.entry for leaf in leaves if leaf.public and leaf.public["kind"] != TRIALS_ENDED)
    hidden = {seq for seq, leaf in enumerate(leaves) if leaf.scope is None}
    return _counted(found, hidden, own, len(leaves), older)


@dataclass(frozen=True)
class _Leaf:
    """One leaf: its digest, and what it shows."""

    digest: str
    public: dict[str, Any] | None = None
    scope: dict[str, Any] | None = None

    @classmethod
    def of(cls, line: bytes) -> _Leaf:
        shown = parse_canonical(line)
        if shown.keys() == {"digest"}:
            return cls(shown["digest"])
        public, scope, private = shown["public"], shown["scope"], shown["private"]
        tried = scope if isinstance(scope, dict) else None
        known = shown.keys() == {"public", "scope", "private"} and public.keys() == PUBLIC
        if not known or set(public["details"]) - {*COUNTING} or (tried is not None and tried.keys() != TRIED):
            raise ValueError("a leaf holds what does not belong there")
        second = scope if tried is None else hash_of("scope", tried)
        return cls(digest_of_hashes(hash_of("public", public), second, private), public, tried)

    @property
    def place(self) -> tuple[Any, ...]:
        return (None,) if self.public is None else tuple(self.public[name] for name in ("version", "seq", "previous"))

    @property
    def entry(self) -> Entry:
        """The entry as far as it is shown; a batch that hides what it tried is taken for one of its own."""
        public = self.public or {}
        scope = self.scope or {"strategy": None, "data_sha256": self.digest if "trials" in public["details"] else None}
        told = {SCOPE: scope[SCOPE]} if scope.get(SCOPE) is not None else {}
        event = Event(
            public["kind"],
            public["run_id"],
            None,
            scope["strategy"],
            scope["data_sha256"],
            {**public["details"], **told},
        )
        return Entry(public["seq"], event, public["time"], public["previous"], self.digest, None, None, VERSION)


def _counted(found: LedgerTrials, hidden: set[int], own: Entry, leaves: int, older: int) -> LeafCount:
    run_id = str(own.event.run_id)
    while run_id in found.stands_for:
        run_id = found.stands_for[run_id]
    mine = [one for one in found.counted if one.run_id == run_id]
    until = mine[-1].seq if mine else own.seq
    before = [one for one in found.counted if one.seq <= until]
    scopes = [one.scope for one in mine if one.seq not in hidden] or [Scope.of_event(own.event)]
    shown = [one for one in before if one.seq not in hidden]
    akin = [*_akin(shown, scopes)]
    unknown = _sum(before) - _sum(shown)
    return LeafCount(leaves, older, _sum(before), _sum(akin), _sum(akin) + unknown, found.problems)


def _akin(shown: list[Counted], scopes: list[Scope]) -> Iterator[Counted]:
    for one in shown:
        same = one.scope.exact is not None and one.scope.exact in {scope.exact for scope in scopes}
        if same or any({*one.scope.families} & {*scope.akin} and one.scope.overlaps(scope) for scope in scopes):
            yield one


def _sum(counted: Collection[Counted]) -> int:
    return sum(one.trials for one in counted)
