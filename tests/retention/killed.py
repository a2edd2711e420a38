"""Kill `prune` and `restore` with SIGKILL at random lines; finish what they began; print what did not agree then.

    python -m tests.retention.killed DIRECTORY KILLS SEED [LEVEL|restore ...]

One child a kill: it removes or restores runs and kills itself when it is about to execute the Nth line of the modules
that do so, N drawn from all there are. The parent then verifies as `evidence verify --all` does, prunes again, and
compares the ledger, the run directories, the archives, the kept inputs, the outbox, MLflow and the site.
"""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.tombstone import ARCHIVE, ARTIFACTS, DELETE
from pipeline.retention.prune import prune, resume
from pipeline.retention.restore import restore
from pipeline.retention.rules import Rules
from pipeline.rundir import ARCHIVE_DIR, RunDir, run_ids
from pipeline.settings import Settings
from pipeline.site.build import build_site
from pipeline.site.state import read_state
from pipeline.tracking.outbox import Home, State
from pipeline.tracking.pruned import PRUNED_TAG
from pipeline.tracking.store import Store
from tests.evidence.sealed_runs import new_signer
from tests.retention.worlds import LATER, World

WRITERS = ("/pipeline/retention/", "/pipeline/files.py", "/pipeline/evidence/ledger.py", "/pipeline/tracking/pruned.py")
RUNS, KEPT = 5, 2
ACTS = (ARTIFACTS, ARCHIVE, DELETE, "restore")


def act(world: World, what: str) -> None:
    """Do what is killed: remove runs at a level, or restore all that were archived."""
    if what != "restore":
        prune(world.settings, Rules(keep_last=KEPT), what, signer=world.signer, now=LATER)
        return
    for run_id, stone in check_ledger(world.ledger).removals.standing.items():
        if stone.level == ARCHIVE:
            restore(world.settings, run_id, signer=world.signer)


def child(world: World, what: str, step: int | None) -> int:
    """Do it and die before line `step`; return how many lines there were."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if not any(part in frame.f_code.co_filename for part in WRITERS):
            return None
        if event == "line":
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    act(world, what)
    sys.settrace(None)
    return seen


def forked(world: World, what: str, step: int | None, count: Path) -> bool:
    """Let a child do it; return whether it was killed. `count` gets the number of lines."""
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            count.write_text(str(child(world, what, step)))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return os.WIFSIGNALED(status)


def make_world(root: Path, signer: Any, database: Path) -> World:
    """Make a project whose runs are tracked in a store of its own, and shown on a site."""
    world = World.at(root, signer)
    runs = world.runs(RUNS)
    store = shutil.copyfile(database, root / "mlflow.db")
    ids = dict(zip([run.run_id for run in runs], tracked_ids(store), strict=True))
    for run in runs:
        state = State(f"sqlite:///{store}", "0", ids[run.run_id], None)
        Home.of_run(run).save(state)
    build_site(world.settings, root / "_site")
    return world


def tracked_ids(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        return [row[0] for row in connection.execute("SELECT run_uuid FROM runs ORDER BY name")]


def make_database(path: Path) -> None:
    """Make a store with as many runs; in a process of its own, so that no child gets an open connection."""
    pid = os.fork()
    if pid == 0:
        store = Store(f"sqlite:///{path}")
        store.connect()
        for number in range(RUNS):
            store.create_run("0", f"run {number}", 0, {})
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def disagreements(world: World, before: int) -> list[str]:
    """Return what is not as the ledger says."""
    chain = check_ledger(world.ledger)
    standing, there = chain.removals.standing, set(run_ids(world.results))
    site = read_state(world.settings.root / "_site").runs.keys()
    archives = {path.name for path in (world.results / ARCHIVE_DIR).glob("*")}
    wanted = {RunDir(world.results, run_id).archive.name for run_id, s in standing.items() if s.level == ARCHIVE}
    gone = {run_id for run_id, stone in standing.items() if stone.gone}
    checks = {
        "verify": world.problems() == [],
        "unfinished": world.unfinished() == [],
        "directories": there == {entry.event.run_id for entry in chain.entries} - gone,
        "inputs": world.kept() == world.used(),
        "archives": archives == wanted,
        "site": site == there,
        "trials": sum(one.trials for one in chain.trials.counted) == before,
        "outbox": all(RunDir(world.results, i).outbox.exists() == (standing[i].level != DELETE) for i in standing),
        "mlflow": tags_in(world.settings.root / "mlflow.db") == sorted(s.level for s in standing.values()),
    }
    return [name for name, fine in checks.items() if not fine]


def tags_in(database: Path) -> list[str]:
    """Return what MLflow says of removed runs: the levels that tags name, `delete` for what was deleted."""
    with sqlite3.connect(database) as connection:
        tagged = "SELECT t.value FROM tags t JOIN runs r ON t.run_uuid = r.run_uuid"
        rows = connection.execute(f"{tagged} WHERE t.key = ? AND r.lifecycle_stage = 'active'", (PRUNED_TAG,))
        levels = [str(value).split()[0] for (value,) in rows]
        deleted = connection.execute("SELECT count(*) FROM runs WHERE lifecycle_stage = 'deleted'").fetchone()[0]
    return sorted([*levels, *[DELETE] * deleted])


def finished(world: World, what: str) -> list[str]:
    """Finish as `verify` does, then as the next `prune` does; return what disagrees after either."""
    counted = sum(one.trials for one in check_ledger(world.ledger).trials.counted)
    warnings = resume(world.settings).warnings
    found = [f"{name} after verify" for name in disagreements(world, counted)]
    act(world, what)
    return [*warnings, *found, *(f"{name} after the next" for name in disagreements(world, counted))]


def main(directory: Path, kills: int, seed: int, acts: tuple[str, ...] = ACTS) -> None:
    import mlflow.tracking  # noqa: F401 - once, not in each child

    signer, generator = new_signer(), random.Random(seed)
    make_database(directory / "template.db")
    templates, lines = {}, {}
    for what in acts:
        templates[what] = directory / f"template-{what}"
        world = make_world(templates[what], signer, directory / "template.db")
        if what == "restore":
            forked(world, ARCHIVE, None, directory / "count")
        trial = moved(templates[what], directory / f"trial-{what}", signer)
        forked(trial, what, None, directory / "count")
        lines[what] = int((directory / "count").read_text())
        assert disagreements(trial, RUNS) == [], (what, disagreements(trial, RUNS), trial.problems())
    outcomes: collections.Counter[str] = collections.Counter()
    killed = 0
    for number in range(kills):
        what = acts[number % len(acts)]
        world = moved(templates[what], directory / str(number), signer)
        killed += forked(world, what, generator.randrange(1, lines[what]), directory / "count")
        outcomes.update(f"{what}: {text}" for text in finished(world, what) or ["agrees"])
        shutil.rmtree(directory / str(number))
    print(json.dumps({"killed": killed, "lines": lines, "outcomes": outcomes}))


def moved(template: Path, root: Path, signer: Any) -> World:
    """Copy a project; its tracked runs are in the store beside it."""
    shutil.copytree(template, root)
    world = World(Settings(root, root / "results"), signer)
    for state in (root / "results" / ".outbox").glob("*/state.json"):
        state.write_text(state.read_text().replace(str(template), str(root)))
    return world


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), tuple(sys.argv[4:]) or ACTS)
