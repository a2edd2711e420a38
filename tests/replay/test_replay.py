"""Replays by real kernels: inputs restored by their digests, results compared, the first difference named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import pipeline
from pipeline.digest import sha256_file
from pipeline.errors import UsageError, VerificationError
from pipeline.evidence.inputs import keep_inputs
from pipeline.evidence.keys import create_key
from pipeline.evidence.rotation import add_trusted_key
from pipeline.evidence.trust import TRUST_FILE
from pipeline.replay import is_replay, replay_run
from pipeline.run import Run, all_runs
from pipeline.settings import Settings
from tests.notebooks import write_notebook
from tests.replay.runs import HELPER, NOTEBOOK, PARAMETERS, READ, SCORE, WRITE, commit, execute, git, sealed_run

OTHER_HELPER = HELPER.replace("len(prices)", "(len(prices) + 1)")


def found(result: object) -> dict[str, tuple[bool, str]]:
    return {item.name: (item.exact, item.found) for item in result.restored}  # type: ignore[attr-defined]


@pytest.mark.slow
def test_an_untouched_project_replays_equal(small: Settings) -> None:
    """Nothing changed: the replay is a sealed run of its own that names the run, and everything is equal."""
    run = execute(small).run
    result = replay_run(run, settings=small)
    assert result.equal, list(result.lines())
    assert result.explanation.verdict == "equal"
    assert result.explanation.inputs == ()
    assert result.replay is not None
    assert result.replay.verify().ok
    assert is_replay(result.replay) == run.run_id
    assert is_replay(run) is None
    assert result.replay.run_id != run.run_id
    assert all(exact for exact, _ in found(result).values())
    assert run.verify().ok


@pytest.mark.slow
def test_a_replay_is_signed_as_runs_are(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked key is asked for; that there is none is said where keys are named; one to discard needs none."""
    monkeypatch.setenv("EVIDENCE_KEY_FILE", str(tmp_path / "keys" / "alice.pem"))
    public = create_key(tmp_path / "keys" / "alice.pem", passphrase="secret").public_pem
    run = sealed_run(small)
    with pytest.raises(UsageError, match="EVIDENCE_KEY_PASSPHRASE"):
        replay_run(run, settings=small)
    assert replay_run(run, settings=small, discard=True).warnings == ()
    add_trusted_key(small.root / TRUST_FILE, "alice", public)
    kept = replay_run(run, settings=small, prompt=lambda _: "secret")
    assert kept.replay is not None
    assert kept.replay.verify().signer is not None
    assert kept.warnings == ()
    monkeypatch.delenv("EVIDENCE_KEY_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    (unsigned,) = replay_run(run, settings=small).warnings
    assert "No signing key was found" in unsigned


@pytest.mark.slow
def test_everything_changed_since_comes_back(small: Settings) -> None:
    """Module from the commit, notebook and data by their digests: equal, and the project is left as it is."""
    run = execute(small).run
    (small.root / "helper.py").write_text(OTHER_HELPER)
    (small.root / NOTEBOOK).unlink()
    data = small.root / "data" / "bars.csv"
    data.write_text("timestamp,close\n2020-01-01,9.5\n")
    commit(small.root)
    before = git(small.root, "status", "--porcelain"), git(small.root, "worktree", "list")
    result = replay_run(run, settings=small, discard=True)
    assert result.equal, list(result.lines())
    assert result.replay is None
    assert "commit" in found(result)["code"][1]
    assert all(exact for exact, _ in found(result).values())
    assert (git(small.root, "status", "--porcelain"), git(small.root, "worktree", "list")) == before
    assert data.read_text().endswith("9.5\n")
    assert [other.run_id for other in all_runs(settings=small)] == [run.run_id]


@pytest.mark.slow
def test_a_whole_number_with_a_point_stays_one(small: Settings) -> None:
    """The snapshot says 5 for 5.0; the replay's notebook gets what the run's got, in lists and tables, too."""
    typed = "print(type(extra['x']), type(extra['list'][0]), type(extra['n']))"
    write_notebook(small.root / NOTEBOOK, READ, SCORE, WRITE, typed, parameters=PARAMETERS)
    commit(small.root)
    run = execute(small, run={"parameters": {"extra": {"x": 5.0, "list": [2.0], "n": 3}}}).run
    result = replay_run(run, settings=small)
    assert result.equal, list(result.lines())
    assert result.replay is not None
    for each in (run, result.replay):
        assert each.notebook is not None
        text = str(each.notebook.cells)
        assert "<class 'float'> <class 'float'> <class 'int'>" in text


@pytest.mark.slow
def test_data_and_notebook_without_git_come_from_the_kept_inputs(small: Settings) -> None:
    """The code is as it was, the files are not: an overlay of the project holds the kept copies in their places."""
    (small.root / ".gitignore").write_text("/results/\n__pycache__/\ndata/\nnotebooks/\n")
    git(small.root, "rm", "-q", "-r", "--cached", "data", "notebooks")
    commit(small.root)
    run = execute(small).run
    paths = {"data": small.root / "data" / "bars.csv", "notebook": small.root / NOTEBOOK}
    records = {"data": run.record.data, "notebook": run.record.notebook}
    assert keep_inputs(small.results, {n: (p, records[n].sha256) for n, p in paths.items()}) == []  # type: ignore[union-attr]
    paths["data"].write_text("timestamp,close\n2020-01-01,9.5\n")
    paths["notebook"].unlink()
    result = replay_run(run, settings=small, discard=True)
    assert result.equal, list(result.lines())
    assert "kept copy" in found(result)["data"][1]
    assert "kept copy" in found(result)["notebook"][1]


@pytest.mark.slow
def test_data_elsewhere_is_found_by_its_digest(small: Settings) -> None:
    """A data file given by an absolute path that moved is found with `search` and named in the replay's spec."""
    data = small.root.parent / "market.csv"
    data.write_text("timestamp,close\n2020-01-01,4.5\n")
    run = execute(small, data={"source": str(data)}).run
    archive = small.root.parent / "archive" / "2020"
    archive.mkdir(parents=True)
    data.rename(archive / "renamed.csv")
    (small.results / ".inputs").is_dir() and [path.unlink() for path in (small.results / ".inputs").iterdir()]
    with pytest.raises(UsageError, match="Put it back, or name a directory that holds it with --search"):
        replay_run(run, settings=small, discard=True)
    result = replay_run(run, settings=small, search=[archive.parent], discard=True)
    assert result.equal, list(result.lines())
    assert result.explanation.first is not None
    assert result.explanation.first.name == "data.source"


@pytest.mark.slow
def test_uncommitted_changes_are_lost_and_named(small: Settings) -> None:
    """A run on a dirty tree cannot be brought back: the module is named first, then how far the results are apart."""
    (small.root / "helper.py").write_text(OTHER_HELPER)
    run = execute(small).run
    git(small.root, "checkout", "-q", "--", "helper.py")
    result = replay_run(run, settings=small)
    explanation = result.explanation
    assert not result.equal
    assert explanation.first is not None
    assert (explanation.first.kind, explanation.first.name) == ("module", "helper")
    exact, where = found(result)["code"]
    assert not exact
    assert "helper" in where
    sharpe = explanation.outputs.stats[0]
    assert sharpe.name == "sharpe"
    assert sharpe.absolute == pytest.approx(abs(sharpe.after - sharpe.before))  # type: ignore[operator]
    assert explanation.outputs.equity is not None
    assert explanation.outputs.equity.first == "2020-01-01T00:00:00Z"
    assert explanation.outputs.trades is not None
    assert explanation.outputs.trades.differing == 1
    assert [cell.cell for cell in explanation.outputs.cells] == [2]


@pytest.mark.slow
def test_the_package_itself_comes_back(small: Settings) -> None:
    """In a checkout that holds this package, the package of the recorded commit executes the replay."""
    shutil.copytree(
        Path(pipeline.__file__).parent, small.root / "pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    commit(small.root)
    run = execute(small).run
    digest = small.root / "pipeline" / "digest.py"
    assert run.record.modules["pipeline.digest"] == sha256_file(digest)
    digest.write_text(digest.read_text() + "# changed\n")
    commit(small.root)
    result = replay_run(run, settings=small)
    assert result.equal, list(result.lines())
    assert result.explanation.inputs == ()
    assert result.replay is not None
    assert result.replay.record.modules == run.record.modules
    assert result.replay.record.git == run.record.git


@pytest.mark.slow
def test_a_failed_run_replays_to_the_same_failure(small: Settings) -> None:
    """A failure is a result: its replay fails in the same cell with the same message, and is equal."""
    (small.root / "helper.py").write_text("def score(prices):\n    raise ValueError('no luck')\n")
    commit(small.root)
    run = execute(small).run
    assert run.status == "FAILED"
    result = replay_run(run, settings=small, discard=True)
    assert result.equal, list(result.lines())


def test_what_cannot_be_replayed_is_refused(small: Settings) -> None:
    """A run that does not match its seal is not replayed, nor one that was never sealed."""
    run = sealed_run(small)
    run.dir.stats.write_text('{"sharpe": 2.0}')
    with pytest.raises(VerificationError, match=r"stats\.json: edited"):
        replay_run(run, settings=small)
    run.dir.manifest.unlink()
    with pytest.raises(UsageError, match="was never sealed"):
        replay_run(Run(run.dir), settings=small)
    with pytest.raises(UsageError, match="from 0 to below 1"):
        replay_run(sealed_run(small), settings=small, tolerance=2.0)


@pytest.mark.slow
def test_an_interrupted_replay_leaves_nothing_behind(small: Settings, tmp_path: Path) -> None:
    """Ended while the notebook executes: no kernel, no work tree, no temporary directory stays."""
    marker = tmp_path / "executing"
    (small.root / "helper.py").write_text(HELPER + WAIT.format(marker=str(marker)))
    commit(small.root)
    run = execute(small).run
    (small.root / "helper.py").write_text(HELPER)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "WAIT": "1", "TMPDIR": str(temporary)}
    process = subprocess.Popen([sys.executable, "-c", REPLAY, run.run_id], cwd=small.root, env=environment)
    wait_for(marker.exists)
    kernel = psutil.Process(int(marker.read_text()))
    assert len(git(small.root, "worktree", "list").splitlines()) == 2
    process.terminate()
    assert process.wait(timeout=30) == 130
    wait_for(lambda: not kernel.is_running())
    assert len(git(small.root, "worktree", "list").splitlines()) == 1
    assert list(temporary.iterdir()) == []
    assert run.verify().ok


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


WAIT = """

import os, time
from pathlib import Path
if os.environ.get("WAIT"):
    Path("{marker}.new").write_text(str(os.getpid()))
    Path("{marker}.new").rename("{marker}")
    time.sleep(120)
"""
REPLAY = """
import signal, sys
from pipeline.replay import replay_run
from pipeline.run import load_run
from pipeline.settings import Settings
signal.signal(signal.SIGTERM, signal.default_int_handler)
settings = Settings.load()
try:
    replay_run(load_run(sys.argv[1], settings=settings), settings=settings, discard=True)
except KeyboardInterrupt:
    sys.exit(130)
"""
