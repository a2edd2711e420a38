"""Complete bundles: what goes along, and a replay that needs nothing of the sender's project."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import UsageError, VerificationError
from pipeline.evidence.bundle import BundleInfo, make_bundle
from pipeline.evidence.luggage import LeftOut, Luggage
from pipeline.evidence.unbundle import verify_bundle
from pipeline.replay.packing import gathered, read_parts
from pipeline.replay.sent import replay_sent
from pipeline.run import Run
from pipeline.settings import Settings
from tests.evidence.test_bundle import repack, unpack
from tests.replay.runs import HELPER, NOTEBOOK, execute, sealed_run

ALL = ("ledger", "notebook", "code", "inputs")


def packed(
    run: Run, settings: Settings, target: Path, wanted: tuple[str, ...] | None = ALL
) -> tuple[BundleInfo, Luggage]:
    with gathered(run, settings, wanted=wanted) as luggage:
        return make_bundle(run.dir, target, ledger=run.dir.ledger, luggage=luggage), luggage


def helper_digest(settings: Settings) -> dict[str, str]:
    from pipeline.digest import sha256_file

    return {"helper": sha256_file(settings.root / "helper.py")}


@pytest.mark.slow
def test_a_bundle_replays_in_an_empty_directory(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender's project is gone: code, notebook and data come out of the bundle, and nothing is left behind."""
    run = execute(small).run
    info, luggage = packed(run, small, tmp_path / "b.zip")
    assert luggage.left_out == ()
    shutil.rmtree(small.root)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    for sent in (info.path, unpack(info.path, tmp_path / "u")):
        result = replay_sent(sent)
        assert result.equal, list(result.lines())
        assert all(item.exact for item in result.restored)
        assert result.replay is None
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_the_code_of_the_recorded_commit_goes_along(small: Settings, tmp_path: Path) -> None:
    """A module that was edited since is taken from the commit of the run, a data file from the kept inputs."""
    run = execute(small).run
    (small.root / "helper.py").write_text(HELPER + "\nraise ValueError('later')\n")
    (small.root / "data" / "bars.csv").write_text("timestamp,close\n2020-01-01,9.5\n")
    info, _ = packed(run, small, tmp_path / "b.zip")
    assert (unpack(info.path, tmp_path / "u") / "code" / "helper.py").read_text() == HELPER
    shutil.rmtree(small.root)
    assert replay_sent(info.path).equal


def test_what_goes_along_is_listed_and_what_does_not(small: Settings, tmp_path: Path) -> None:
    """The default takes what there is; the statement and the README say what was left out, and why."""
    run = sealed_run(small, modules=helper_digest(small) | {"gone": "ab" * 32})
    info, luggage = packed(run, small, tmp_path / "b.zip", None)
    assert luggage.parts == ALL
    assert luggage.left_out == (LeftOut("module gone", "its source was changed since", "ab" * 32),)
    folder = unpack(info.path, tmp_path / "u")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    assert {"code/helper.py", f"inputs/{run.record.data.sha256}.csv"} <= names  # type: ignore[union-attr]
    assert f"inputs/{run.record.notebook.sha256}.ipynb" in names  # type: ignore[union-attr]
    predicate = json.loads((folder / "bundle.json").read_bytes())["predicate"]
    assert predicate["with"] == list(ALL)
    assert predicate["left_out"] == [{"name": "module gone", "why": luggage.left_out[0].why, "sha256": "ab" * 32}]
    assert "not module gone: its source was changed since" in (folder / "README.txt").read_text()
    assert verify_bundle(info.path).ok


def test_what_was_asked_for_has_to_be_had(small: Settings, tmp_path: Path) -> None:
    """Named parts come along whole or the bundle is refused; `none` is a bundle as small as before."""
    run = sealed_run(small, modules={"gone": "ab" * 32})
    with pytest.raises(UsageError, match="module gone: its source was changed since"):
        packed(run, small, tmp_path / "b.zip", ("code",))
    (small.root / "data" / "bars.csv").write_text("other")
    shutil.rmtree(small.results / ".inputs")
    (small.root / ".git").rename(tmp_path / "git")
    with pytest.raises(UsageError, match="data: no file with its digest was found"):
        packed(run, small, tmp_path / "b.zip", ("inputs",))
    _, luggage = packed(run, small, tmp_path / "none.zip", ())
    assert luggage.files == {}
    assert {item.why for item in luggage.left_out} == {"it was not asked for"}
    with pytest.raises(
        UsageError, match="'all' cannot go along: give some of ledger, notebook, code, inputs, strategies, or none"
    ):
        read_parts("all")
    assert read_parts("inputs, code,inputs") == ("inputs", "code")
    assert read_parts("none") == ()
    assert read_parts(None) is None


def test_what_is_too_large_stays_and_is_named(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default has room for so many bytes: the data stays, as it comes last; asked for by name, it goes along."""
    run = sealed_run(small, modules=helper_digest(small))
    monkeypatch.setattr("pipeline.replay.packing.ROOM", (small.root / NOTEBOOK).stat().st_size + 60)
    _, luggage = packed(run, small, tmp_path / "b.zip", None)
    assert luggage.parts == ("ledger", "notebook", "code")
    assert luggage.left_out[0].name == "inputs"
    assert "--with inputs" in luggage.left_out[0].why
    assert packed(run, small, tmp_path / "c.zip", ("inputs",))[1].parts == ("inputs",)


def test_a_file_with_a_secret_of_the_sender_stays(
    small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment holds under the name of a secret does not leave in a module's source."""
    (small.root / "helper.py").write_text("TOKEN = 'k3y-of-the-broker'\n")
    run = sealed_run(small, modules=helper_digest(small))
    monkeypatch.setenv("BROKER_TOKEN", "k3y-of-the-broker")
    info, luggage = packed(run, small, tmp_path / "b.zip", None)
    assert luggage.left_out == (LeftOut("module helper", "it holds a secret, env:BROKER_TOKEN"),)
    assert b"k3y-of-the-broker" not in info.path.read_bytes()


def test_a_bundle_without_its_code_is_refused_with_the_reason(small: Settings, tmp_path: Path) -> None:
    """Nothing is executed that would fail for want of a module; the sender's reason is quoted."""
    run = sealed_run(small, modules=helper_digest(small))
    info, _ = packed(run, small, tmp_path / "b.zip", ("inputs", "notebook"))
    with pytest.raises(UsageError, match=r"the module helper did not come along \(code: it was not asked for\)"):
        replay_sent(info.path)
    bare, _ = make_bundle(run.dir, tmp_path / "bare.zip"), None
    with pytest.raises(UsageError, match="the sender left the code out"):
        replay_sent(bare.path)


def test_a_bundle_that_does_not_verify_is_not_executed(small: Settings, tmp_path: Path) -> None:
    """Edited, or no bundle at all: exit code 3 before anything of it runs."""
    run = sealed_run(small, modules=helper_digest(small))
    info, _ = packed(run, small, tmp_path / "b.zip")
    edited = repack(unpack(info.path, tmp_path / "u"), tmp_path / "c.zip", lambda f: f.update({"code/helper.py": b"x"}))
    with pytest.raises(VerificationError, match=r"code/helper\.py: edited"):
        replay_sent(edited)
    (tmp_path / "d.zip").write_bytes(b"PK")
    with pytest.raises(VerificationError, match="is not a bundle"):
        replay_sent(tmp_path / "d.zip")


def test_a_module_that_the_run_did_not_import_is_a_problem(small: Settings, tmp_path: Path) -> None:
    """Even by who packs: what lies among inputs and code is what the seal names, by its digest."""
    run = sealed_run(small, modules=helper_digest(small))
    with gathered(run, small, wanted=ALL) as luggage:
        more = Luggage({**luggage.files, "code/helper.py": b"def score(p): return 9.9\n"}, luggage.parts)
        info = make_bundle(run.dir, tmp_path / "b.zip", luggage=more)
    problems = verify_bundle(info.path).problems
    assert [(item.path, item.kind) for item in problems] == [("code/helper.py", "added")]


def test_leaves_of_other_strategies_are_not_shown_unless_asked_for(small: Settings, tmp_path: Path) -> None:
    """By default what the own family tried is shown; `strategies` shows all of them; no ledger, no leaves."""
    sealed_run(small, sections={"strategy": {"name": "buy_and_hold", "params": {}}})
    run = sealed_run(small)
    info, _ = packed(run, small, tmp_path / "b.zip", ("ledger",))
    assert b"buy_and_hold" not in info.path.read_bytes()
    note = next(note for note in verify_bundle(info.path).notes if "leaves" in note)
    assert "2 trials until this run, at least 1 and at most 2 of its family" in note
    info, _ = packed(run, small, tmp_path / "c.zip", ("strategies",))
    assert b"buy_and_hold" in info.path.read_bytes()
    assert "2 trials until this run, 1 of its family" in " ".join(verify_bundle(info.path).notes)
    run.dir.ledger.unlink()
    with (
        pytest.raises(UsageError, match="leaves cannot go along: there is none"),
        gathered(run, small, wanted=["ledger"]),
    ):
        pass
