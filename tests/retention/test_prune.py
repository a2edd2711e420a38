"""Which runs are removed, which stay and why, and what is left of each level."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.edge import run_command
from pipeline.errors import RunNotFoundError, StorageError, UsageError, VerificationError
from pipeline.evidence.ledger import Event, append
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.trust import project_trust
from pipeline.evidence.unbundle import verify_bundle
from pipeline.evidence.verify import verify_run
from pipeline.files import list_files, write_atomic
from pipeline.report.job import RenderJob
from pipeline.retention.archive import unpacked
from pipeline.retention.intent import Intent, read_intent, write_intent
from pipeline.retention.prune import Pruned, prune, resume
from pipeline.retention.restore import pin, restore, unpin
from pipeline.retention.rules import Policy, Rules, combined, read_age, read_policy
from pipeline.run import Run
from pipeline.rundir import RunDir, run_ids
from pipeline.settings import SETTINGS_FILE
from pipeline.site.build import build_site
from pipeline.site.state import read_state
from pipeline.sweep.report.bulk import render_all, why_any_stale
from pipeline.tracking.journal import JournalWriter
from pipeline.tracking.outbox import Home, State
from pipeline.tracking.store import Store
from tests.evidence.sealed_runs import new_signer
from tests.retention.worlds import LATER, World, contents


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.at(tmp_path / "project", new_signer())


def removed(world: World, level: str, *, force: bool = False, **rules: Any) -> Pruned:
    return prune(world.settings, Rules(**rules), level, signer=world.signer, force=force, now=LATER)


def gone(done: Pruned) -> set[str]:
    return {one.row.run_id for one in done.plan.going}


def reasons(done: Pruned) -> dict[str, str]:
    return {one.run_id: " ".join(map(str, one.holds)) for one in done.plan.staying}


@pytest.mark.parametrize("level", ["artifacts", "archive", "delete"])
def test_what_each_level_leaves(world: World, level: str) -> None:
    """Two of four runs go; the ledger tells of them, what remains verifies, and their inputs go with the last user."""
    runs = world.runs(4)
    before = contents(runs[0].path)
    done = removed(world, level, keep_last=2)
    assert gone(done) == {runs[0].run_id, runs[1].run_id}
    assert world.problems() == []
    there = set(run_ids(world.results))
    assert (runs[0].run_id in there) == (level == "artifacts")
    assert runs[0].archive.is_file() == (level == "archive")
    assert world.kept() == world.used()
    assert len(world.kept()) == (5 if level == "artifacts" else 3)
    assert world.unfinished() == []
    if level == "artifacts":
        assert set(list_files(runs[0].path)) == before.keys() - {
            "notebook.ipynb", "plots/equity_curve.png", "trades.csv", "report/index.html", "report/statement.dsse.json"
        }  # fmt: skip
        assert Run(runs[0]).stats["sharpe"] == json.loads(before["stats.json"])["sharpe"]
        assert Run(runs[0]).verify().ok
        [rendered] = render_all([Run(runs[0])], RenderJob(world.settings))
        assert "artifacts dropped on" in (rendered.error or "")
        assert why_any_stale(Run(runs[0]), RenderJob(world.settings)) is None
    again = removed(world, level, keep_last=2)
    assert gone(again) == set()


def test_an_archive_verifies_by_itself_and_comes_back_as_it_was(world: World) -> None:
    """Every byte, the inputs with it; the ledger says when it went and came back, and it can go again."""
    runs = world.runs(3)
    before = contents(runs[0].path)
    removed(world, "archive", keep_last=1)
    with unpacked(runs[0].archive) as bundle:
        found = verify_bundle(bundle, trust=project_trust(world.settings))
    assert (found.ok, found.trusted) == (True, True)
    with pytest.raises(RunNotFoundError, match="No run"):
        restore(world.settings, "", signer=world.signer)
    restore(world.settings, runs[0].run_id[:13], signer=world.signer)
    assert contents(runs[0].path) == before
    assert not runs[0].archive.exists()
    assert (world.problems(), world.unfinished()) == ([], [])
    assert world.used() <= world.kept()
    removed(world, "archive", keep_last=1)
    assert (runs[0].archive.is_file(), world.problems()) == (True, [])
    removed_archive = runs[0].archive
    removed_archive.write_bytes(b"forged")
    with pytest.raises(VerificationError, match="is not what the ledger's entry"):
        restore(world.settings, runs[0].run_id, signer=world.signer)


def test_a_dry_run_changes_nothing(world: World) -> None:
    """It says what would go, how much that is, and what stays."""
    world.runs(3)
    before = contents(world.settings.root)
    done = prune(world.settings, Rules(keep_last=1), "delete", dry_run=True, now=LATER)
    assert len(gone(done)) == 2
    assert done.plan.bytes > 1000
    assert contents(world.settings.root) == before


def test_rules(world: World) -> None:
    """Each rule keeps what it is about; together they keep what any of them keeps."""
    runs = [world.run(n, tags={"desk": "alpha"} if n == 0 else {}, report=False) for n in range(5)]
    ids = [run.run_id for run in runs]
    best = max(ids, key=lambda run_id: Run(RunDir(world.results, run_id)).stats["sharpe"] or 0.0)

    def would(**rules: Any) -> set[str]:
        now = dt.datetime(2026, 1, 1, 0, 30, tzinfo=dt.UTC)  # runs begin every seven minutes
        return gone(prune(world.settings, Rules(**rules), "delete", dry_run=True, now=now))

    assert would(keep_last=2) == {*ids[:3]}
    assert would(keep_last=0) == {*ids}
    assert would(max_age="10m") == {*ids[:3]}
    assert would(max_age="10m", keep_last=3) == {*ids[:2]}
    assert would(keep_last=0, keep_tags=("desk",)) == {*ids[1:]}
    assert would(keep_last=0, keep_tags=("desk=beta",)) == {*ids}
    assert would(keep_last=0, keep_best=1) == {*ids} - {best}
    assert would(where="tags.desk = alpha") == {ids[0]}
    for wrong in ({"keep_best": 3}, {"keep_last": 0, "keep_best": 1, "by": "shrape"}):
        with pytest.raises(UsageError):
            would(**wrong)


def test_the_policy_of_a_project(world: World) -> None:
    """What the command does not say the settings file does; a wrong key or value is named with the file."""
    assert read_policy(world.settings) == Policy(Rules())
    text = 'keep_last = 200\nmax_age = "30d"\nkeep_tags = ["client"]\nkeep_best = 5\nlevel = "archive"\n'
    write_atomic(world.settings.root / SETTINGS_FILE, f"[retention]\n{text}".encode())
    policy = read_policy(world.settings)
    assert policy == Policy(Rules(200, "30d", ("client",), 5), "archive")
    assert combined(policy, {"keep_last": 3, "max_age": None}) == Rules(3, "30d", ("client",), 5)
    assert combined(policy, {"unsealed": True}) == Rules(unsealed=True)
    assert str(policy.rules) == "keep-last 200, max-age 30d, keep-tag client, keep-best 5 by sharpe"
    for wrong, said in {
        "keep_lst = 3": "keep_last", 'max_age = "3 moons"': "30d", "keep_last = -1": "0 or", "keep_last = true": "0",
        "keep_tags = 3": "texts", 'level = "all"': "artifacts", "by = 1": "texts", "max_age = 3": "30d",
    }.items():  # fmt: skip
        write_atomic(world.settings.root / SETTINGS_FILE, f"[retention]\n{wrong}\n".encode())
        with pytest.raises(UsageError, match=said) as caught:
            read_policy(world.settings)
        assert "settings.toml" in str(caught.value)
    for broken in (b"retention = 3", b"[retention"):
        write_atomic(world.settings.root / SETTINGS_FILE, broken)
        with pytest.raises(UsageError, match=r"settings\.toml"):
            read_policy(world.settings)
    assert read_age("2w") == dt.timedelta(days=14)


def test_pinned_runs_stay(world: World) -> None:
    """A pin says why; it goes with `unpin`, and is neither set nor taken twice."""
    runs = world.runs(2)
    pin(world.settings, [runs[0].run_id[:13]], reason="for the review", signer=world.signer)
    with pytest.raises(UsageError, match="pinned already"):
        pin(world.settings, [runs[0].run_id], signer=world.signer)
    done = removed(world, "delete", keep_last=0)
    assert "it is pinned (for the review)" in reasons(done)[runs[0].run_id]
    assert gone(done) == {runs[1].run_id}
    unpin(world.settings, [runs[0].run_id], signer=world.signer)
    with pytest.raises(UsageError, match="not pinned"):
        unpin(world.settings, [runs[0].run_id], signer=world.signer)
    assert gone(removed(world, "delete", keep_last=0)) == {runs[0].run_id}
    assert world.problems() == []


@pytest.mark.parametrize(
    ("origin", "why"),
    [("replay", "is a replay of it"), ("sweep-best", "is one of its trials"), ("sweep-trial", "is one")],
)
def test_what_others_rely_on_stays_as_long_as_they_do(world: World, origin: str, why: str) -> None:
    """The original of a replay and a sweep with its trials' runs go with what relies on them, or not at all."""
    first, other = world.run(0), world.run(1)
    copy = world.run(2, origin=f"{origin}:{first.run_id}", report=False)
    text = copy.manifest.read_text().replace("builder:evidence-run", f"builder:{origin}:{first.run_id}")
    assert text != copy.manifest.read_text()
    resealed(world, copy, text)
    done = removed(world, "delete", keep_last=1)
    assert gone(done) == {other.run_id}
    assert reasons(done)[first.run_id].startswith(f"the run {copy.run_id} {why}")
    pin(world.settings, [first.run_id], signer=world.signer)
    assert (copy.run_id in gone(removed(world, "artifacts", keep_last=0))) == (origin == "replay")
    done = removed(world, "delete", keep_last=0, force=True)
    assert gone(done) == {first.run_id, copy.run_id}
    stone = check_ledger(world.ledger).removals.standing[first.run_id]
    assert any("it is pinned" in reason for reason in stone.forced)
    assert world.problems() == []


@pytest.mark.slow
def test_what_mlflow_holds(world: World, template_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered model's run stays, and one that is not delivered or whose store is away; others are marked there."""
    mlflow = pytest.importorskip("mlflow")
    runs = world.runs(4)
    database = shutil.copyfile(template_database, world.settings.root / "mlflow.db")
    uri = f"sqlite:///{database}"
    store = Store(uri)
    store.connect()
    ids = [store.create_run("0", run.run_id, 0, {}).info.run_id for run in runs[:2]]
    client = mlflow.MlflowClient(uri)
    client.create_registered_model("model")
    client.create_model_version("model", "file:///model", ids[0])
    places = [(uri, ids[0]), (uri, ids[1]), ("http://127.0.0.1:9", "0" * 32)]
    for run, (place, mlflow_id) in zip(runs, places, strict=False):
        Home.of_run(run).save(State(place, "0", mlflow_id))
    JournalWriter(Home.of_run(runs[3]).late).append("tags", {"items": {"a": "b"}})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = removed(world, "delete", keep_last=0)
    said = reasons(done)
    assert "a registered model in MLflow is of it" in said[runs[0].run_id]
    assert "its MLflow run cannot be reached" in said[runs[2].run_id]
    assert "entries have not reached MLflow" in said[runs[3].run_id]
    assert gone(done) == {runs[1].run_id}
    assert client.get_run(ids[1]).info.lifecycle_stage == "deleted"
    removed(world, "archive", where=f"run_id = {runs[0].run_id}", force=True)
    assert client.get_run(ids[0]).data.tags["evidence.pruned"].startswith("archive 20")
    restore(world.settings, runs[0].run_id, signer=world.signer)
    assert "evidence.pruned" not in client.get_run(ids[0]).data.tags
    assert gone(removed(world, "delete", keep_last=0, force=True)) == {runs[0].run_id, runs[2].run_id, runs[3].run_id}
    assert (world.problems(), world.unfinished()) == ([], [])


def resealed(world: World, run: RunDir, manifest: str) -> None:
    """Seal a run with another manifest, in a ledger that is written anew."""
    from pipeline.evidence import events
    from pipeline.evidence.dsse import sign_manifest

    run.manifest.write_text(manifest)
    sign_manifest(run, world.signer)
    lines = world.ledger.read_bytes().splitlines(keepends=True)
    world.ledger.write_bytes(b"".join(lines[:-1]))
    append(world.ledger, events.sealed(run), world.signer)


def test_tampered_and_unknown_runs_are_not_cleared_away(world: World) -> None:
    """A run that does not verify stays, unless forced, and then its tombstone says what was wrong with it."""
    forged, unknown, whole = world.run(0), world.run(1), world.run(2)
    forged.stats.write_bytes(b"{}")
    lines = world.ledger.read_bytes().splitlines(keepends=True)
    world.ledger.write_bytes(b"".join(lines[:2]))
    from pipeline.evidence import events

    for run in (whole,):
        append(world.ledger, events.sealed(run), world.signer)
    done = removed(world, "delete", keep_last=0)
    assert gone(done) == {whole.run_id}
    assert "does not verify: stats.json: edited" in reasons(done)[forged.run_id]
    assert "ledger adopt" in reasons(done)[unknown.run_id]
    done = removed(world, "delete", keep_last=0, force=True)
    assert gone(done) == {forged.run_id}
    stone = check_ledger(world.ledger).removals.standing[forged.run_id]
    assert "stats.json: edited" in stone.forced[0]
    assert "although" in str(stone)


def test_an_entry_that_this_version_does_not_know_holds_a_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever approved a run, or will do so in a way that is not invented yet, relies on it."""
    runs = world.runs(2)
    known = frozenset({*check_kinds(), "run_approved"})
    monkeypatch.setattr("pipeline.evidence.ledger.KINDS", known)
    append(world.ledger, Event("run_approved", runs[0].run_id), world.signer)
    done = removed(world, "delete", keep_last=0)
    assert "(run_approved) is about it" in reasons(done)[runs[0].run_id]
    assert gone(done) == {runs[1].run_id}


def check_kinds() -> frozenset[str]:
    from pipeline.evidence.ledger import KINDS

    return KINDS


def test_interrupted_runs_have_a_way_out(world: World) -> None:
    """`unsealed` deletes them and nothing else; verification passes then, and their trials still count."""
    whole, killed = world.run(0), world.interrupted()
    running = world.interrupted()
    facts = json.loads(running.state.read_text())
    running.state.write_text(json.dumps({**facts, "pid": facts["was"]}))
    beginning = RunDir.create(world.results, "33333333-3333-4333-8333-333333333333")
    assert any("unsealed" in text for text in world.problems())
    counted = sum(one.trials for one in check_ledger(world.ledger).trials.counted)
    done = removed(world, "artifacts", unsealed=True)
    assert gone(done) == {killed.run_id}
    assert "executed right now" in reasons(done)[running.run_id]
    assert "about to begin" in reasons(done)[beginning.run_id]
    assert {whole.run_id, running.run_id, beginning.run_id} == set(run_ids(world.results))
    running.state.write_text(json.dumps({**facts, "pid": 0}))
    os.utime(beginning.path, (time.time() - 3600,) * 2)
    assert gone(removed(world, "artifacts", unsealed=True)) == {running.run_id, beginning.run_id}
    assert world.problems() == []
    assert sum(one.trials for one in check_ledger(world.ledger).trials.counted) == counted


def test_a_sealed_run_without_its_manifest_is_no_interrupted_one(world: World) -> None:
    """Whoever takes a manifest away gets no tombstone for it, not with force either."""
    run = world.run(0)
    run.manifest.unlink()
    os.utime(run.path, (time.time() - 3600,) * 2)
    done = removed(world, "delete", unsealed=True, force=True)
    assert "its manifest is gone" in reasons(done)[run.run_id]
    assert gone(done) == set()


def test_an_intent_alone_removes_nothing(world: World) -> None:
    """Whoever writes one into the results has no run removed by who verifies or prunes next, and no archive either."""
    runs = world.runs(3)
    removed(world, "archive", where=f"run_id = {runs[0].run_id}")
    before = contents(world.results)
    write_intent(world.results, Intent({run.run_id: ("ab" * 32,) for run in runs}))
    resume(world.settings)
    assert contents(world.results) == before
    for text in (b"[]", b"{", b'{"runs": {"../..": []}}', b'{"runs": 3}', b'{"runs": {"x": 3}}'):
        write_atomic(world.results / ".pruning" / "intent.json", text)
        resume(world.settings)
        assert contents(world.results) == before
    assert read_intent(world.results) is None


def test_who_cannot_sign_removes_nothing(world: World) -> None:
    """In a signed ledger a tombstone of nobody counts for nothing, so nothing is removed by it."""
    world.runs(2)
    before = contents(world.results)
    for signer in (None, new_signer()):
        with pytest.raises(UsageError, match=r"signing key|may not sign"):
            prune(world.settings, Rules(keep_last=0), "delete", signer=signer, now=LATER)
        with pytest.raises(UsageError, match=r"signing key|may not sign"):
            pin(world.settings, ["0"], signer=signer)
    after = {name: data for name, data in contents(world.results).items() if not name.startswith(".pruning")}
    assert after == before


def test_a_damaged_ledger_stops_it_and_a_torn_one_is_repaired(world: World) -> None:
    """What a killed writer left is moved aside first; an edited line ends the command before anything goes."""
    world.runs(2)
    whole = world.ledger.read_bytes()
    world.ledger.write_bytes(whole + b'{"digest')
    assert len(gone(removed(world, "delete", keep_last=1))) == 1
    assert world.problems() == []
    world.ledger.write_bytes(world.ledger.read_bytes().replace(b"run_started", b"run_stopped", 1))
    with pytest.raises(VerificationError, match="the ledger is damaged"):
        removed(world, "delete", keep_last=0)


def test_one_at_a_time(world: World) -> None:
    """While somebody removes runs, `verify` does not wait, and does not finish it for them."""
    from pipeline.retention.intent import one_at_a_time

    world.runs(1)
    write_intent(world.results, Intent({}))
    with one_at_a_time(world.results), pytest.raises(StorageError, match="right now"):
        resume(world.settings)
    resume(world.settings)
    assert read_intent(world.results) is None


def test_an_input_that_a_run_has_begun_to_use_stays(world: World) -> None:
    """A run that is executed, and is not sealed yet, keeps what it was given from the moment it began."""
    from pipeline.evidence.inputs import keep_inputs
    from pipeline.retention.kept_inputs import inputs_of

    run, running = world.run(0), world.interrupted()
    facts = json.loads(running.state.read_text())
    running.state.write_text(json.dumps({**facts, "pid": facts["was"]}))
    shared, own = (next(world.results.glob(f".inputs/{digest}*")) for digest in inputs_of(run))
    for path in (shared, own):
        os.utime(path, (1.7e9, 1.7e9))
    keep_inputs(world.results, {"data": (shared, shared.name[:64])})
    removed(world, "delete", keep_last=0)
    assert not run.path.exists()
    assert (shared.is_file(), own.is_file()) == (True, False)


@pytest.mark.slow
def test_the_site_follows(world: World) -> None:
    """Pages of removed runs go, and what is left of a run whose artifacts were dropped is shown as whole."""
    runs = world.runs(3)
    build_site(world.settings, world.settings.root / "_site")
    removed(world, "delete", where=f"run_id = {runs[0].run_id}")
    removed(world, "artifacts", where=f"run_id = {runs[1].run_id}")
    state = read_state(world.settings.root / "_site")
    assert state.runs.keys() == {runs[1].run_id, runs[2].run_id}
    assert state.runs[runs[1].run_id].seal == "signed"
    assert not (world.settings.root / "_site" / "runs" / runs[0].run_id).exists()


@pytest.mark.slow
def test_the_commands(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """prune, pin, unpin, restore and verify, as they are typed; JSON says what the lines do."""
    plain = World.at(world.settings.root.parent / "plain")
    runs = plain.runs(3)
    monkeypatch.chdir(plain.settings.root)
    monkeypatch.setenv("EVIDENCE_ROOT", str(plain.settings.root))

    def call(*words: str, code: int = 0) -> Any:
        assert run_command([*words]) == code
        return capsys.readouterr().out

    call("prune", code=2)
    call("pin", runs[0].run_id, "--reason", "mine")
    assert "2 runs would be archived" in call("prune", "--keep-last", "0", "--level", "archive", "--dry-run")
    told = json.loads(call("prune", "--keep-last", "1", "--level", "archive", "--json"))
    assert [one["run_id"] for one in told["removed"]] == [runs[1].run_id]
    assert "it is pinned (mine)" in told["stay"][0]["reasons"][0]
    archive = f"results/.archive/evidence-{runs[1].run_id}.zip.xz"
    call("verify", archive, code=4)
    assert "archived on" in call("verify", "--all")
    shutil.copy(archive, "kept.zip.xz")
    call("restore")
    assert verify_run(runs[1], ledger=plain.ledger).ok
    write_atomic(Path("config/settings.toml"), b"[retention]\nkeep_last = 1\nlevel = 'delete'\n")
    call("unpin", runs[0].run_id)
    assert "2 runs deleted" in call("prune")
    Path("kept.zip.xz").write_bytes(b"forged")
    call("verify", "kept.zip.xz", code=3)
    assert "3 verified" not in call("verify", "--all")
    call("restore", runs[1].run_id, code=2)
