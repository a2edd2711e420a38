"""Public bundles: sealed files as they are or left out, nothing else; and what can be proven of such a bundle."""

from __future__ import annotations

import base64
import getpass
import json
import re
import socket
import subprocess
import sys
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.evidence_commands import register
from pipeline.digest import sha256_bytes
from pipeline.errors import UsageError
from pipeline.evidence import events
from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.keys import signer_pem
from pipeline.evidence.ledger import append
from pipeline.evidence.standalone import source, verify
from pipeline.evidence.strict_json import canonical
from pipeline.evidence.trial import Scope
from pipeline.evidence.trust import Trust
from pipeline.evidence.unbundle import open_sent, verify_bundle, verify_path
from pipeline.replay.public import public_luggage
from pipeline.replay.sent import replay_sent
from pipeline.run import Run
from pipeline.settings import Settings
from tests.evidence.sealed_runs import kinds, new_signer, trust_in
from tests.evidence.test_bundle import repack, unpack
from tests.site.conftest import new_project, render
from tests.site.site_runs import make_run, varied
from tests.site.test_site_public import SECRETS, SITE_TOML, everywhere

Files = dict[str, bytes]
REPORT = "public-report.html"
USER = "q7user"


@dataclass(frozen=True)
class Sender:
    """Who packs: a project with a run that has private things in every place, and a key."""

    settings: Settings
    run: Run
    signer: Any

    @property
    def trust(self) -> Trust:
        return trust_in(self.signer, named=True)

    @property
    def keyid(self) -> str:
        return str(self.signer.public_key.keyid)

    def pack(self, target: Path, wanted: tuple[str, ...] | None = None) -> Path:
        luggage = public_luggage(self.run, self.settings, wanted=wanted)
        make_bundle(self.run.dir, target, ledger=self.run.dir.ledger, signer=self.signer, luggage=luggage)
        return target


@pytest.fixture
def sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sender:
    """A run without a report, which takes long to render, of a user with a home of his own."""
    monkeypatch.setenv("LOGNAME", USER)
    monkeypatch.setenv("HOME", str(tmp_path / "homes" / USER))
    settings = new_project(tmp_path / "the-project")
    (settings.root / "config").mkdir()
    (settings.root / "config" / "site.toml").write_text(SITE_TOML, encoding="utf-8")
    private = "\n".join([USER, socket.gethostname(), str(Path.home()), str(settings.root)]).encode()
    planned = everywhere()
    planned["files"] |= {"trades.csv": private, f"plots/{USER}.png": b"", "reports/backtest_report.txt": b"no trades"}
    signer = new_signer()
    run = make_run(settings.results, varied(1, **planned), signer)
    scope = Scope("rsi_reversion", "cd" * 32, "rsi", ("SPX",), None, None)
    append(run.ledger, events.started(run, strategy="rsi_reversion", data_sha256="cd" * 32, scope=scope), signer)
    append(run.ledger, events.sealed(run), signer)
    return Sender(settings, Run(run), signer)


def check(path: Path, *keys: str) -> int:
    return int(verify.main([str(path), *(part for key in keys for part in ("--key", key))]))


def readings(data: bytes) -> Iterator[bytes]:
    """Yield bytes as they are, and what they say behind escapes, base64 and the compression within pictures."""
    yield data
    text = data.decode("utf-8", "replace")
    yield unescape(text).encode()
    yield urllib.parse.unquote(text).encode()
    yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).encode("utf-8", "replace")
    yield text.replace("\\\\", "\\").replace("\\/", "/").encode()
    for match in re.finditer(rb"[A-Za-z0-9+/]{24,}", data):
        decoded = base64.b64decode(match[0][: len(match[0]) // 4 * 4])
        yield decoded
        yield from inflated(decoded)
    yield from inflated(data)


def inflated(data: bytes) -> Iterator[bytes]:
    for match in re.finditer(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08", data):
        try:
            yield zlib.decompressobj(47).decompress(data[match.start() :], 1 << 22)
        except zlib.error:
            continue


def private_words(sender: Sender) -> list[re.Pattern[bytes]]:
    """Return patterns of what nobody may find, as whole words; names as short as those of variables tell nothing."""
    names = [getpass.getuser(), socket.gethostname(), str(Path.home()), str(sender.settings.root), *SECRETS]
    assert USER in names
    return [
        re.compile(rb"(?<!\w)%b(?!\w)" % re.escape(name.encode()), re.IGNORECASE) for name in names if len(name) > 3
    ]


def found_in(bundle: Path, words: list[re.Pattern[bytes]]) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["the zip"] = bundle.read_bytes()
    return [
        (name, word.pattern)
        for name, data in members.items()
        for reading in (name.encode(), *readings(data))
        for word in words
        if word.search(reading)
    ]


@pytest.mark.slow
def test_no_member_of_a_public_bundle_holds_what_is_private(sender: Sender, tmp_path: Path) -> None:
    """User, host, home, project and every planted secret: in no member, however it is encoded; all are in a whole one.

    The report is there, and its links lead to files that are.
    """
    render(sender.run.dir)
    append(sender.run.dir.ledger, events.rendered(sender.run.dir), sender.signer)
    whole = make_bundle(sender.run.dir, tmp_path / "whole.zip", ledger=sender.run.dir.ledger, signer=sender.signer)
    words = private_words(sender)
    assert {word for _, word in found_in(whole.path, words)} >= {word.pattern for word in words} - {
        rb"(?<!\w)%b(?!\w)" % re.escape(name) for name in (b"client=", b"C:\\Users\\jdoe")
    }
    bundle = sender.pack(tmp_path / "public.zip")
    assert found_in(bundle, words) == []
    folder = unpack(bundle, tmp_path / "u")
    html = (folder / REPORT).read_text(encoding="utf-8")
    links = re.findall(r'<a href="([^"#]+)"', html)
    assert f"{sender.run.run_id}/stats.json" in links
    assert [link for link in links if not (folder / link).is_file()] == []
    assert check(bundle, sender.keyid) == 0
    site = sender.settings.root / "config" / "site.toml"
    site.write_text(f'{SITE_TOML}files = ["*"]\n', encoding="utf-8")
    known = [word for word in words if b"hunter2" not in word.pattern]  # alone in a log, it is a word as any other
    assert found_in(sender.pack(tmp_path / "every.zip"), known) == []


def test_a_file_is_there_as_it_was_sealed_or_left_out_by_its_digest(sender: Sender, tmp_path: Path) -> None:
    """Every sealed file, the seal and its signature is one or the other; nothing was edited."""
    folder = unpack(sender.pack(tmp_path / "b.zip"), tmp_path / "u")
    run = sender.run.dir
    here = {path.relative_to(folder / run.run_id).as_posix() for path in (folder / run.run_id).rglob("*.*")}
    assert here == {"stats.json", "equity.csv", "reports/trades_summary.json", "reports/backtest_report.txt"}
    assert all((folder / run.run_id / name).read_bytes() == (run.path / name).read_bytes() for name in here)
    predicate = json.loads(read_envelope((folder / "bundle.dsse.json").read_bytes()).payload)["predicate"]
    told = {item["sha256"]: item for item in predicate["left_out"] if item["sha256"]}
    sealed = [*run.sealed_paths(), "manifest.json", "manifest.dsse.json"]
    left = {name: sha256_bytes((run.path / name).read_bytes()) for name in sealed if name not in here}
    assert told.keys() == {*left.values()}
    assert told[left["manifest.json"]]["name"] == "manifest.json"
    assert told[left["trades.csv"]]["why"].startswith("it holds what may not be public")
    assert told[left[f"plots/{USER}.png"]]["name"] == "plots/[left out].png"
    assert told[left["debug/kernel.log"]]["why"].startswith("it is not among the files that may be public")
    assert predicate["manifest_sha256"] == left["manifest.json"]
    assert predicate["sealed"] == {"status": "FINISHED", "finished_on": sender.run.record.finished_at}


def test_both_programs_say_what_is_proven_and_what_is_the_sender_s_word(
    sender: Sender, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PROVEN is that the key signed these files; that they are as sealed is on trust, what was left out not covered."""
    bundle = sender.pack(tmp_path / "b.zip")
    for path in (bundle, unpack(bundle, tmp_path / "u")):
        assert (check(path, sender.keyid), check(path), check(path, "0" * 64)) == (0, 4, 3)
    told = capsys.readouterr().out.split("PROVEN\n")[0]
    proven, believed, open_ = re.split("Taken on trust:|Not covered:", told)
    assert "The seal is entry 1 of a ledger of 2" in proven
    assert "All 2 leaves of the ledger came along: 1 trials" in proven
    assert "The seal of the run" not in proven
    assert f"That 4 files are as the run {sender.run.run_id}, FINISHED, sealed them." in believed
    assert "manifest.json left out: it names hosts, paths and packages (SHA-256 " in open_
    found = verify_bundle(bundle, trust=sender.trust)
    assert (found.problems, found.verdict, found.signer, found.files) == ((), "ok", "alice", 4)
    assert found.manifest_sha256 == sender.run.manifest_digest
    assert any("the seal is left out" in note and "the word of whoever signed" in note for note in found.notes)
    assert verify_bundle(bundle).verdict == "consistent"
    assert not verify_bundle(bundle, trust=trust_in(new_signer())).ok


def listed(files: Files, signer: Any, change: Callable[[dict[str, Any]], Any] = lambda statement: None) -> None:
    """List the files anew, with a change to the statement, and sign it."""
    statement = json.loads(read_envelope(files.pop("bundle.dsse.json")).payload)
    digests = {name: sha256_bytes(data) for name, data in files.items() if name != "SHA256SUMS"}
    statement["subject"] = [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)]
    change(statement)
    files["bundle.dsse.json"] = make_envelope(canonical(statement), STATEMENT, signer)


def by_another(files: Files) -> None:
    other = new_signer()
    files |= {name: signer_pem(other).encode() for name in files if name.startswith("keys/")}
    listed(files, other)


def forgeries(run_id: str) -> dict[str, Callable[[Files], Any]]:
    """What somebody without the key can do."""
    return {
        "edit a file": lambda f: f.update({f"{run_id}/stats.json": b'{"sharpe": 2.61}\n'}),
        "swap the report": lambda f: f.update({REPORT: b"<!doctype html><title>Sharpe 2.61</title>"}),
        "add a file that was left out": lambda f: f.update({f"{run_id}/trades.csv": b"x"}),
        "add another seal": lambda f: f.update({f"{run_id}/manifest.json": b"{}"}),
        "remove a file": lambda f: f.pop(f"{run_id}/stats.json"),
        "remove the ledger's entry": lambda f: f.pop("ledger/entry.json"),
        "edit a leaf": lambda f: f.update(
            {"ledger/leaves.jsonl": f["ledger/leaves.jsonl"].replace(b"run_sealed", b"run_failed")}
        ),
        "sign it with another key": by_another,
        "take the signature off": lambda f: f.update({"bundle.json": read_envelope(f.pop("bundle.dsse.json")).payload}),
        "a program that says what one likes": lambda f: f.update({"verify.py": b"print('PROVEN')\n"}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("forgery", ["", *forgeries("x")])
def test_each_line_of_the_readme_does_what_it_says(sender: Sender, tmp_path: Path, forgery: str) -> None:
    """On a genuine public bundle both commands succeed; on each forgery the first finds it. Both programs agree."""
    packed = unpack(sender.pack(tmp_path / "b.zip"), tmp_path / "u")
    (packed / REPORT).write_bytes(b"<!doctype html><title>Sharpe 0.61</title>")  # a real one takes long to render
    base = repack(packed, tmp_path / "base.zip", lambda files: listed(files, sender.signer))
    change = forgeries(sender.run.run_id).get(forgery, lambda files: None)
    changed = repack(unpack(base, tmp_path / "v"), tmp_path / "c.zip", change)
    folder, program = unpack(changed, tmp_path / "c"), tmp_path / "verify.py"
    program.write_bytes(source())
    lines = [line.split() for line in (folder / "README.txt").read_text().splitlines() if line.startswith(" " * 7)]
    places = {"python3": sys.executable, "KEY_ID": sender.keyid, "verify.py": str(program)}
    commands = [[places.get(word, word) for word in line] for line in lines]
    codes = [subprocess.run(line, cwd=folder, capture_output=True, check=False).returncode for line in commands]
    assert codes == ([3, 0] if forgery else [0, 0])
    assert verify_bundle(changed, trust=sender.trust).ok is (not forgery)
    assert verify_path(folder, trust=sender.trust).ok is (not forgery)


def named(predicate: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in predicate["left_out"] if item["name"] == name)


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another seal": lambda p: p.update(manifest_sha256="ab" * 32),
    "no seal left out": lambda p: p["left_out"].remove(named(p, "manifest.json")),
    "a seal without a digest": lambda p: (
        named(p, "manifest.json").update(sha256=None),
        p.update(manifest_sha256=None),
    ),
    "a digest that is none": lambda p: (named(p, "manifest.json").update(sha256="x"), p.update(manifest_sha256="x")),
    "here and left out": lambda p: p["left_out"].append({"name": "stats.json", "why": "x", "sha256": "ab" * 32}),
    "no list of what was left out": lambda p: p.update(left_out=None),
    "a list of texts": lambda p: p.update(left_out=["manifest.json"]),
    "a status of its own": lambda p: p["sealed"].update(status="GREAT"),
    "an end after the ledger's entry": lambda p: p["sealed"].update(finished_on="2099-01-01T00:00:00Z"),
    "nothing of the seal": lambda p: p.update(sealed=None),
}


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_list_that_contradicts_itself_is_a_problem_whoever_signed_it(
    sender: Sender, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    """Also when the owner of the key signs it; in both programs, and for whoever opens it to replay."""
    packed = unpack(sender.pack(tmp_path / "b.zip"), tmp_path / "u")
    signed = repack(
        packed, tmp_path / "c.zip", lambda f: listed(f, sender.signer, lambda statement: change(statement["predicate"]))
    )
    assert check(signed, sender.keyid) == 3
    assert not verify_bundle(signed, trust=sender.trust).ok


def test_a_whole_bundle_is_not_taken_for_a_public_one(sender: Sender, tmp_path: Path) -> None:
    """With the type changed by the owner of the key himself, neither program believes a seal that nobody checked."""
    make_bundle(sender.run.dir, tmp_path / "whole.zip", ledger=sender.run.dir.ledger, signer=sender.signer)
    public = "urn:evidence-chain:public-bundle:v1"
    changed = repack(
        unpack(tmp_path / "whole.zip", tmp_path / "u"),
        tmp_path / "c.zip",
        lambda f: listed(f, sender.signer, lambda statement: statement.update(predicateType=public)),
    )
    assert check(changed, sender.keyid) == 3
    assert not verify_bundle(changed, trust=sender.trust).ok


def test_what_was_left_out_can_be_compared_once_it_is_shown(sender: Sender, tmp_path: Path) -> None:
    """The README names the digest of each file; of the sealed one it is the same, of an edited one another."""
    text = (unpack(sender.pack(tmp_path / "b.zip"), tmp_path / "u") / "README.txt").read_text()
    for name in ("manifest.json", "manifest.dsse.json", "config_snapshot.json", "trades.csv"):
        data = (sender.run.dir.path / name).read_bytes()
        line = next(line for line in text.splitlines() if line.startswith(f"  - not {name}: "))
        assert line.endswith(f"(SHA-256 {sha256_bytes(data)})")
        assert sha256_bytes(data + b" ") not in text


def test_what_needs_the_seal_says_so(sender: Sender, tmp_path: Path) -> None:
    """Replay and recompute of a public bundle are refused with the reason, and what to ask for."""
    bundle = sender.pack(tmp_path / "b.zip")
    with pytest.raises(
        UsageError, match="a public bundle, made with `evidence bundle --public`: it cannot be replayed"
    ):
        replay_sent(bundle)
    with open_sent(bundle) as sent, pytest.raises(UsageError, match="it cannot be computed again"):
        sent.needs_the_seal("computed again")


@pytest.mark.parametrize("part", ["code", "notebook", "inputs"])
def test_what_the_run_was_made_from_stays(sender: Sender, tmp_path: Path, part: str) -> None:
    """Asked for by name it is refused; the default takes the leaves of the ledger, `none` not even those."""
    with pytest.raises(UsageError, match=f"A public bundle takes no {part} along"):
        public_luggage(sender.run, sender.settings, wanted=(part,))
    assert public_luggage(sender.run, sender.settings).parts == ("ledger",)
    luggage = public_luggage(sender.run, sender.settings, wanted=())
    assert (luggage.parts, luggage.scopes) == ((), None)


def test_entries_with_a_hidden_word_are_not_shown(sender: Sender, tmp_path: Path) -> None:
    """A word of [public] in what an entry tried hides that part; in the seal's own entry all of the ledger stays."""
    run, site = sender.run.dir, sender.settings.root / "config" / "site.toml"
    other = Scope("umbrella:signal", "cd" * 32, "rsi", ("SPX",), None, None)
    tried = events.started(run, strategy="umbrella:signal", data_sha256="cd" * 32, scope=other)
    append(run.ledger, tried, sender.signer)
    assert len(public_luggage(sender.run, sender.settings, wanted=("strategies",)).scopes or ()) == 3
    site.write_text(SITE_TOML.replace('"jdoe"', '"jdoe", "umbrella"'), encoding="utf-8")
    luggage = public_luggage(sender.run, sender.settings, wanted=("strategies",))
    assert luggage.scopes == {0, 1}
    site.write_text(SITE_TOML.replace('"jdoe"', '"jdoe", "rsi_reversion"'), encoding="utf-8")
    bundle = sender.pack(tmp_path / "b.zip")
    folder = unpack(bundle, tmp_path / "u")
    assert not (folder / "ledger").exists()
    assert b"rsi_reversion" not in bundle.read_bytes().replace(source(), b"")
    assert "not ledger/entry.json: it holds what may not be public" in (folder / "README.txt").read_text()
    assert check(bundle, sender.keyid) == 0
    assert "the bundle holds no entry of a ledger" in verify_bundle(bundle, trust=sender.trust).notes


def test_without_a_key_it_is_consistent_at_best(sender: Sender, tmp_path: Path) -> None:
    """Anybody can write a list that nobody signed."""
    luggage = public_luggage(sender.run, sender.settings)
    bundle, ledger = tmp_path / "b.zip", sender.run.dir.ledger
    make_bundle(sender.run.dir, bundle, ledger=ledger, trust=sender.trust, luggage=luggage)
    assert check(tmp_path / "b.zip") == 4
    assert check(tmp_path / "b.zip", sender.keyid) == 3
    assert verify_bundle(tmp_path / "b.zip").verdict == "consistent"
    assert ("bundle.json", "unsigned") in kinds(verify_bundle(tmp_path / "b.zip", trust=sender.trust).problems)


def test_the_command_says_what_it_left_out(sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evidence bundle --public` has a name of its own for the file, and names what is not in it, and why."""
    app = typer.Typer(pretty_exceptions_enable=False)
    register(app)
    monkeypatch.chdir(sender.settings.root)
    monkeypatch.setenv("EVIDENCE_ROOT", str(sender.settings.root))
    monkeypatch.delenv("EVIDENCE_RESULTS", raising=False)
    key = signer_pem(sender.signer)
    Path("config/trusted_keys.toml").write_text(f'[[keys]]\nname = \'alice\'\npublic_key = """{key}"""\n')
    result = CliRunner().invoke(app, ["bundle", "last", "--public", "--json"])
    assert result.exception is None, result.output + repr(result.exception)
    told = json.loads(result.stdout)
    assert told["bundle"] == f"evidence-{sender.run.run_id}-public.zip"
    assert told["with"] == ["ledger"]
    assert "manifest.json (it names hosts, paths and packages)" in told["left_out"]
    assert check(Path(told["bundle"])) == 4
