"""Which earlier run may stand for a new one, and the reason when none may."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.digest import sha256_file
from pipeline.evidence import provenance
from pipeline.evidence.events import sealed
from pipeline.evidence.ledger import append
from pipeline.evidence.manifest import write_manifest
from pipeline.replay import find_reusable
from pipeline.replay.importable import present_modules
from pipeline.run import Run
from pipeline.settings import Settings
from tests.replay.runs import HELPER, NOTEBOOK, sealed_run, small_spec


def finished(small: Settings, **sections: dict[str, object]) -> Run:
    """Return a finished run that had imported the helper and the package's engine."""
    names = ("helper", "pipeline", "pipeline.backtest.engine")
    return sealed_run(small, sections=sections, modules=present_modules(names, small.root))


def test_the_same_inputs_are_reused(small: Settings) -> None:
    """Nothing changed: the run is returned, with its key; its name, tags, tracking and report do not matter."""
    run = finished(small)
    reuse = find_reusable(small_spec(run={"name": "other", "tags": {"a": "b"}}), small)
    assert reuse.run is not None
    assert reuse.run.run_id == run.run_id
    assert len(str(reuse.key)) == 64
    assert run.run_id in reuse.why


def test_no_runs(small: Settings) -> None:
    """Without earlier runs there is nothing to reuse."""
    reuse = find_reusable(small_spec(), small)
    assert reuse.run is None
    assert reuse.why == "there is no earlier run"


def change_helper(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "helper.py").write_text(HELPER + "# changed\n")


def remove_helper(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "helper.py").unlink()


def shadow_the_package(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "pipeline").mkdir()
    (root / "pipeline" / "__init__.py").touch()


def change_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (root / "data" / "bars.csv").open("a") as file:
        file.write("2020-01-03,3.5\n")


def change_notebook(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / NOTEBOOK
    path.write_text(path.read_text().replace("random.random()", "random.random() * 2"))


def new_package_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {**provenance.installed_packages(), "numpy": "99.0"}
    monkeypatch.setattr(provenance, "installed_packages", lambda: packages)


def new_python(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance.platform, "python_version", lambda: "9.9.9")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_helper, "module helper: sha256:"),
        (remove_helper, "-> absent"),
        (shadow_the_package, "module pipeline: sha256:"),
        (change_data, "data: sha256:"),
        (change_notebook, "notebook: sha256:"),
        (new_package_version, "package numpy:"),
        (new_python, "-> 9.9.9"),
    ],
)
def test_a_changed_input_is_not_reused(
    small: Settings, monkeypatch: pytest.MonkeyPatch, change: object, reason: str
) -> None:
    """Each input that counts is noticed and named; changed back, the run is reused again."""
    run = finished(small)
    kept = small.root.parent / "kept"
    shutil.copytree(small.root, kept, ignore=shutil.ignore_patterns("results", ".git"))
    with monkeypatch.context() as patch:
        change(small.root, patch)  # type: ignore[operator]
        reuse = find_reusable(small_spec(), small)
        assert reuse.run is None
        assert reason in reuse.why
        assert run.run_id in reuse.why
    shutil.rmtree(small.root / "pipeline", ignore_errors=True)
    shutil.copytree(kept, small.root, dirs_exist_ok=True)
    assert find_reusable(small_spec(), small).run is not None


@pytest.mark.parametrize(
    "sections", [{"run": {"seed": 4}}, {"run": {"parameters": {"extra": 9}}}, {"data": {"symbol": "OTHER"}}]
)
def test_a_changed_spec_is_not_reused(small: Settings, sections: dict[str, dict[str, object]]) -> None:
    """Seed, parameters and sections of the spec count."""
    finished(small)
    assert find_reusable(small_spec(**sections), small).run is None


def test_a_touched_data_file_is_reused(small: Settings) -> None:
    """The content decides, not the time of the file."""
    run = finished(small)
    data = small.root / "data" / "bars.csv"
    text = data.read_text()
    data.unlink()
    data.write_text(text)
    os.utime(data, (1, 1))
    assert find_reusable(small_spec(), small).run.run_id == run.run_id  # type: ignore[union-attr]


def test_a_tampered_run_is_passed_over(small: Settings) -> None:
    """A run that does not match its seal is never reused; an older one that does is."""
    good, bad = finished(small), finished(small)
    bad.dir.stats.write_text('{"sharpe": 9.0}')
    reuse = find_reusable(small_spec(), small)
    assert reuse.run is not None
    assert reuse.run.run_id == good.run_id
    assert "does not match its seal: stats.json" in reuse.considered[0].why_not
    good.dir.manifest.unlink()
    reuse = find_reusable(small_spec(), small)
    assert reuse.run is None
    assert "does not match its seal" in reuse.why or "not FINISHED" in reuse.why


def test_a_run_the_ledger_knows_otherwise_is_passed_over(small: Settings) -> None:
    """Edited and sealed again it matches its seal, not the ledger; and without a ledger nothing is taken on trust."""
    run = finished(small)
    ledger = run.dir.ledger.read_bytes()
    manifest = json.loads(run.dir.manifest.read_bytes())
    run.dir.stats.write_text('{"sharpe": 9.0, "trades": 2, "undefined": null}')
    for subject in manifest["subject"]:
        path = run.dir.path / subject["name"]
        subject.update(digest={"sha256": sha256_file(path)}, annotations={"size": path.stat().st_size})
    write_manifest(run.dir, manifest)
    assert run.verify().ok
    append(run.dir.ledger, sealed(run.dir))
    assert (
        "does not match its seal: manifest.json: edited: the ledger's entry 1" in find_reusable(small_spec(), small).why
    )
    run.dir.ledger.unlink()
    assert "does not match its seal: ledger.jsonl: missing" in find_reusable(small_spec(), small).why
    run.dir.ledger.write_bytes(ledger)
    assert find_reusable(small_spec(), small).run is None


def test_a_failed_run_is_passed_over(small: Settings) -> None:
    """A failed run has the same inputs and is not a result to reuse."""
    run = sealed_run(small, error=True)
    reuse = find_reusable(small_spec(), small)
    assert reuse.run is None
    assert reuse.why.endswith(f"{run.run_id}: it is FAILED, not FINISHED")


def test_a_run_without_recorded_modules_is_passed_over(small: Settings) -> None:
    """What was imported is not known, so nothing says that it is the same."""
    sealed_run(small, modules={})
    reuse = find_reusable(small_spec(), small)
    assert reuse.run is None
    assert "which modules were imported" in reuse.why


def test_modules_are_found_without_importing_them(tmp_path: Path) -> None:
    """Modules, packages, submodules and namespace packages are found by name; what raises on import is not run."""
    (tmp_path / "alone.py").write_text("raise RuntimeError\n")
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("raise RuntimeError\n")
    (tmp_path / "pack" / "inner" / "deep.py").write_text("raise RuntimeError\n")
    names = ("alone", "pack", "pack.inner", "pack.inner.deep", "pack.none", "none.at.all", "pipeline.digest")
    found = present_modules(names, tmp_path)
    assert set(found) == {"alone", "pack", "pack.inner.deep", "pipeline.digest"}
    assert found["pack.inner.deep"] == sha256_file(tmp_path / "pack" / "inner" / "deep.py")
