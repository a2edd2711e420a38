"""Cut the rows of the listing into files of some hundred, so that a new run touches one of them.

Rows are in order of start. A cut comes after a row whose run_id's digest says so, as backup programs cut files by
content: where the cuts are depends on the runs alone, not on how the site came about, and a run that is added or
removed moves the cuts next to it only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.site.entry import SiteEntry, script, to_json
from pipeline.site.layout import DATA

AVERAGE = 256
LARGEST = 1024
Shard = list[SiteEntry]


def cut(entries: Iterable[SiteEntry], *, average: int = AVERAGE, largest: int = LARGEST) -> list[Shard]:
    """Return the entries in order of start, cut into shards of `average` rows on average, `largest` at most."""
    shards: list[Shard] = [[]]
    for entry in sorted(entries, key=lambda entry: entry.order):
        shards[-1].append(entry)
        mark = int(sha256_bytes(entry.run_id.encode())[:8], 16)
        if mark % average == 0 or len(shards[-1]) == largest:
            shards.append([])
    return [shard for shard in shards if shard]


def shard_script(shard: Shard) -> tuple[str, str]:
    """Return the name of a shard's file, which holds the digest of its content, and the content."""
    metrics = sorted({name for entry in shard for name in entry.stats})
    rows = ",\n".join(to_json(_row(entry, metrics)) for entry in shard)
    text = f"EvidenceSite.shard({to_json(metrics)},[\n{rows}\n]);\n"
    return f"{DATA}/runs-{sha256_bytes(text.encode())[:16]}.js", text


def head_script(names: Sequence[str], runs: int) -> str:
    """Return the head: the shards, the one with the latest runs first, and how many runs there are."""
    files = [name.removeprefix(f"{DATA}/") for name in reversed(names)]
    return script("head", {"shards": files, "runs": runs})


def _row(entry: SiteEntry, metrics: Sequence[str]) -> list[Any]:
    facts: list[Any] = [
        entry.run_id, entry.name, entry.status, entry.seal, entry.started_at, entry.strategy, entry.symbol,
        entry.experiment, list(entry.tags), entry.spark, entry.look_ahead,
        entry.data, entry.found, entry.engine, entry.reconciled, entry.period,
    ]  # fmt: skip
    return facts + [entry.stats.get(name) for name in metrics]
