"""`evidence keys | ledger | bundle | verify`: what they print, what they exit with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.evidence_commands import register
from pipeline.cli.key_commands import keys
from pipeline.errors import EvidenceError
from pipeline.evidence import events
from pipeline.evidence.keys import load_signer, signer_pem
from pipeline.evidence.ledger import append, head
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from tests.evidence.sealed_runs import DATA_SHA256, World, new_signer

app = typer.Typer(pretty_exceptions_enable=False)
register(app)
app.add_typer(keys, name="keys")


@pytest.fixture
def home(project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a project of somebody who has no key yet, and a configuration directory of their own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    for name in ("EVIDENCE_KEY", "EVIDENCE_KEY_FILE", "EVIDENCE_KEY_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    return project


def call(*arguments: str, code: int = 0, stdin: str | None = None) -> str:
    """Run a command; its exit code must be `code`, that of our errors included."""
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    error = result.exception
    exit_code = error.exit_code if isinstance(error, EvidenceError) else result.exit_code
    assert exit_code == code, result.output + repr(error)
    return result.output + (str(error) if isinstance(error, EvidenceError) else "")


def call_json(*arguments: str, code: int = 0) -> Any:
    return json.loads(call(*arguments, "--json", code=code))


def make_run(home: Settings) -> RunDir:
    return World(home.results, load_signer()).run()


def test_from_a_key_to_a_verified_bundle(home: Settings, tmp_path: Path) -> None:
    """The way a user goes: make a key, run, verify, bundle, let a stranger verify."""
    keyid = call_json("keys", "init", "--name", "alice")["keyid"]
    shown = call_json("keys", "show")
    assert (shown["keyid"], shown["trusted_as"]) == (keyid, "alice")
    run = make_run(home)
    [verification] = call_json("verify", run.run_id)
    assert (verification["ok"], verification["signer"], verification["notes"]) == (True, "alice", [])
    bundle = str(tmp_path / "b.zip")
    assert call_json("bundle", run.run_id, "-o", bundle)["signed"] is True
    assert "brings along" in call("verify", bundle, code=4)
    trust = str(home.root / "config" / "trusted_keys.toml")
    [sent] = call_json("verify", bundle, "--trust", trust)
    assert (sent["ok"], sent["signer"]) == (True, "alice")
    assert call_json("verify", "--path", str(run.path), "--trust", trust)[0]["ok"]
    assert "BEGIN PUBLIC KEY" in call("keys", "export")


def test_one_key_signs_in_several_projects(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`keys init` in a second project trusts the key that is there; asked once more, it says that there is one."""
    keyid = call_json("keys", "init", "--name", "alice")["keyid"]
    shutil.copytree(home.root / "notebooks", tmp_path / "second" / "notebooks")
    monkeypatch.chdir(tmp_path / "second")
    assert call_json("keys", "show")["trusted_as"] is None
    assert call_json("keys", "init", "--name", "alice")["keyid"] == keyid
    assert call_json("keys", "show")["trusted_as"] == "alice"
    assert "keys rotate" in call("keys", "init", code=2)
    (tmp_path / "second" / "config" / "trusted_keys.toml").unlink()
    assert "keys rotate" in call("keys", "init", "--no-add", code=2)


def test_what_does_not_verify_exits_with_3_and_is_named(home: Settings, tmp_path: Path) -> None:
    """A wrong file, a run directory that is gone, a ledger rolled back, a bundle damaged: exit 3 and the name."""
    call("keys", "init")
    first, second = make_run(home), make_run(home)
    call("bundle", first.run_id, "-o", str(tmp_path / "b.zip"))
    (tmp_path / "b.zip").write_bytes((tmp_path / "b.zip").read_bytes()[:-1])
    assert "refused" in call("verify", str(tmp_path / "b.zip"), code=3)
    kept = tmp_path / "checkpoint"
    call("ledger", "checkpoint", "-o", str(kept))
    assert call("verify", "--all", "--checkpoint", str(kept)).count(" ok ") == 3
    first.stats.write_bytes(b"{}")
    assert "stats.json: edited" in call("verify", first.run_id, code=3)
    shutil.rmtree(second.path)
    output = call("verify", "--all", code=3)
    assert f"{second.run_id}: missing run" in output
    ledger = home.results / "ledger.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:3]))
    assert "rolled back" in call("verify", "--all", "--checkpoint", str(kept), code=3)
    assert "rolled back" in call("ledger", "check", "--checkpoint", kept.read_text().strip(), code=3)


def test_a_pruned_run_is_not_missed(home: Settings) -> None:
    """A run that was removed on purpose has an entry that says so."""
    from pipeline.evidence.ledger import RUN_PRUNED, Event

    run = make_run(home)
    shutil.rmtree(run.path)
    assert "missing run" in call("verify", "--all", code=3)
    append(home.results / "ledger.jsonl", Event(RUN_PRUNED, run.run_id))
    assert "missing run" not in call("verify", "--all")


def test_the_environment_locks_a_new_key(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """EVIDENCE_KEY_PASSPHRASE is that of the key that is made, asked for or not; --no-passphrase leaves it unlocked."""
    for options, locked in (((), True), (("--passphrase",), True), (("--no-passphrase",), False)):
        with monkeypatch.context() as patch:
            patch.setenv("EVIDENCE_KEY_PASSPHRASE", "from elsewhere")
            patch.setenv("EVIDENCE_KEY_FILE", str(home.root.parent / "-".join(["key", *options]) / "key.pem"))
            patch.delenv("EVIDENCE_KEY", raising=False)
            assert call_json("keys", "init", "--no-add", *options)["passphrase"] is locked
            assert call_json("keys", "show")["passphrase"] is locked
            patch.setenv("EVIDENCE_KEY_PASSPHRASE", "another")
            call("keys", "rotate", code=2 if locked else 0)


def test_a_key_with_a_passphrase(home: Settings) -> None:
    """It is asked for where a person is there to answer."""
    call("keys", "init", "--passphrase", stdin="secret\nsecret\n")
    World(home.results, None).run()
    call("ledger", "adopt", "--all", stdin="secret\n")
    output = call("keys", "rotate", "--passphrase", stdin="new\nnew\nsecret\n")
    assert "old keyid" in output
    assert "EVIDENCE_KEY_PASSPHRASE" in message_of(load_signer)


def message_of(function: Any) -> str:
    with pytest.raises(EvidenceError) as caught:
        function()
    return str(caught.value)


def test_a_file_that_cannot_be_written_is_an_error_not_a_crash(home: Settings, tmp_path: Path) -> None:
    """A key, a checkpoint and a bundle asked for where there is no place for a file."""
    call("keys", "init")
    run = make_run(home)
    for target in (tmp_path, home.root / "notebooks" / "backtest.ipynb" / "file"):
        for command in (("keys", "export"), ("ledger", "checkpoint"), ("bundle", run.run_id)):
            assert "could not be written" in call(*command, "-o", str(target), code=1)


def test_the_trials_of_a_run_that_was_not_sealed(home: Settings) -> None:
    """A killed run is about a strategy and data too, as the entry of its start says; without one nobody knows."""
    run = make_run(home)
    run.manifest.unlink()
    facts = call_json("ledger", "trials", run.run_id)
    assert (facts["strategy"], facts["data_sha256"]) == ("ma_crossover", DATA_SHA256)
    assert [facts[name] for name in ("trials", "trials_exact", "trials_in_ledger", "results_unknown")] == [1, 1, 1, 0]
    run.ledger.unlink()
    assert "never sealed" in call("ledger", "trials", run.run_id, code=3)


def test_a_ledger_that_was_taken_away_is_missed(home: Settings) -> None:
    """Sealed runs without any entry do not verify, whether the ledger is gone or empty; with no runs none is needed."""
    assert "there is no ledger" in call("ledger", "check")
    run = World(home.results, None).run()
    ledger = home.results / "ledger.jsonl"
    for remove in (ledger.unlink, ledger.touch):
        remove()
        for command in (("verify", run.run_id), ("verify", "--all"), ("ledger", "check")):
            assert "ledger.jsonl: missing: it has no entry" in call(*command, code=3)
    call("ledger", "adopt", "--all")
    assert "ok" in call("verify", run.run_id)


def test_runs_from_before_the_ledger_are_adopted(home: Settings) -> None:
    """Once, and only those that verify."""
    run = World(home.results, None).run()
    (home.results / "ledger.jsonl").unlink()
    append(home.results / "ledger.jsonl", events.started(run, strategy="ma_crossover", data_sha256=DATA_SHA256))
    assert "missing entry" in call("verify", run.run_id, code=3)
    assert [item["adopted"] for item in call_json("ledger", "adopt", "--all")] == [True]
    assert [item["adopted"] for item in call_json("ledger", "adopt", run.run_id)] == [False]
    call("verify", "--all")
    assert call_json("ledger", "trials", run.run_id)["trials"] == 1


def test_a_torn_ledger_is_repaired_by_hand_too(home: Settings) -> None:
    """`ledger repair` says what it moved, and that there was nothing to do."""
    make_run(home)
    ledger = home.results / "ledger.jsonl"
    with ledger.open("ab") as file:
        file.write(b"half")
    call("ledger", "check", code=3)
    assert call_json("ledger", "repair") == {"repaired": True, "bytes": 4, "file": f"{find_torn(home)}"}
    assert call_json("ledger", "repair") == {"repaired": False}
    call("ledger", "check")


def find_torn(home: Settings) -> str:
    return next(home.results.glob("*.torn-*")).name


def test_an_anchor_is_attached(home: Settings, tmp_path: Path) -> None:
    """A token that holds the digest of the checkpoint's file."""
    from pipeline.digest import sha256_file

    make_run(home)
    call("ledger", "checkpoint", "-o", str(tmp_path / "c"))
    (tmp_path / "t.ots").write_bytes(bytes.fromhex(sha256_file(tmp_path / "c")))
    call("ledger", "anchor", str(tmp_path / "t.ots"), "--checkpoint", str(tmp_path / "c"))
    assert "attached" in call("ledger", "check")


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "--all", "x"],
        ["verify", "b.zip", "--checkpoint", f"1:{'0' * 64}"],
        ["verify", "gone.zip"],
        ["verify", "--all", "--checkpoint", "nonsense"],
        ["verify", "last", "--trust", "gone.toml"],
        ["ledger", "adopt"],
        ["ledger", "checkpoint"],
        ["keys", "show"],
        ["keys", "rotate"],
    ],
)
def test_wrong_usage_exits_with_2(home: Settings, arguments: list[str]) -> None:
    """And says what to do."""
    if "last" in arguments:
        make_run(home)
    assert call(*arguments, code=2)


def test_the_checkpoint_is_the_head(home: Settings) -> None:
    """What is printed is what a tag or a mail keeps."""
    make_run(home)
    assert call("ledger", "checkpoint").strip() == str(head(home.results / "ledger.jsonl"))


def test_what_nobody_known_signed_is_consistent_at_best(home: Settings, tmp_path: Path) -> None:
    """A bundle that its own key signs, and a run directory without a trust file, exit with 4; with --trust 0, or 3."""
    call("keys", "init", "--name", "alice")
    run = make_run(home)
    bundle, trust = str(tmp_path / "b.zip"), str(home.root / "config" / "trusted_keys.toml")
    call("bundle", run.run_id, "-o", bundle)
    for sent in ((bundle,), ("--path", str(run.path))):
        assert " consistent " in call("verify", *sent, code=4)
        assert json.loads(call("verify", *sent, "--json", code=4))[0]["trusted"] is False
        found = json.loads(call("verify", *sent, "--trust", trust, "--json"))[0]
        assert (found["verdict"], found["trusted"], found["signer"]) == ("ok", True, "alice")
    (tmp_path / "mallory.toml").write_text(f'[[keys]]\nname = "m"\npublic_key = """{signer_pem(new_signer())}"""\n')
    assert "unknown key" in call("verify", bundle, "--trust", str(tmp_path / "mallory.toml"), code=3)


def test_a_run_of_a_project_without_keys_is_ok_and_unsigned(home: Settings) -> None:
    """Keys are optional: a whole run verifies, and the word says what is missing."""
    run = make_run(home)
    assert " ok, unsigned " in call("verify", run.run_id)


def test_a_named_trust_file_asks_for_its_keys_whatever_it_says(home: Settings, tmp_path: Path) -> None:
    """`--trust FILE` over runs, directories and bundles means: signed by one of these; the file's policy is its own."""
    run = World(home.results, None).run()
    call("bundle", run.run_id, "-o", str(tmp_path / "b.zip"))
    file = tmp_path / "alice.toml"
    file.write_text("require_signatures = false\n", encoding="utf-8")
    for arguments in (["--all"], [run.run_id], ["--path", str(run.path)], [str(tmp_path / "b.zip")]):
        assert "unsigned" in call("verify", *arguments, "--trust", str(file), code=3)
    assert " consistent " in call("verify", str(tmp_path / "b.zip"), code=4)
