"""Runs from before secrets were masked: the full site does not hand on what they hold, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.evidence.unmasked import unmasked_files
from pipeline.masking import masked_text
from pipeline.rundir import list_files
from pipeline.site.build import build_site
from pipeline.site.redaction import Redactor
from tests.evidence.sealed_runs import new_signer
from tests.site.conftest import new_project
from tests.site.site_runs import make_run, varied

STORE = "postgresql://desk:hunter2%21x@db.internal/mlflow"
HELD = [
    "config_snapshot.json", "notebook.ipynb", "tracking.json", "manifest.json", "report/index.html",
    "manifest.dsse.json",
]  # fmt: skip
FILES = {
    "config_snapshot.json": json.dumps(
        {"run": {"name": "old", "parameters": {"api_token": "k3y-of-the-broker"}}, "tracking": {"uri": STORE}}
    ).encode(),
    "tracking.json": json.dumps({"tracking_uri": STORE}).encode(),
    "notebook.ipynb": json.dumps({"cells": [{"source": ["api_token = 'k3y-of-the-broker'"]}]}).encode(),
    "tables/harmless.csv": b"see https://{user}:{password}@host, https://host/x?token=***, and postgresql://me:***@host",
}


def old_run(project: Path) -> Path:
    """Make a run as versions before masking sealed it, signed, with a report that shows the store's address."""
    run = make_run(project / "results", varied(1, files=FILES, overrides={"tracking.uri": STORE}), new_signer())
    run.report.parent.mkdir()
    run.report.write_text(f"<!doctype html><html><body><p>{STORE}</p></body></html>")
    assert unmasked_files(run) == HELD
    return run.path


@pytest.mark.slow
def test_the_full_site_does_not_hand_on_secrets_of_old_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with a secret are not copied, a report with one is not shown; each build warns, also one that makes
    nothing anew. The other files of the run, and other runs, are all there.
    """
    project = new_project(tmp_path / "project")
    run = old_run(project.root)
    harmless = make_run(project.results, varied(2))
    built = build_site(project, tmp_path / "site")
    assert built.held == {run.name: HELD}
    files = {name: (tmp_path / "site" / name).read_bytes() for name in list_files(tmp_path / "site")}
    assert not [name for name, data in files.items() if b"hunter2" in data or b"k3y-of-the-broker" in data]
    assert f"runs/{run.name}/files/tables/harmless.csv" in files
    assert f"runs/{harmless.run_id}/files/manifest.json" in files
    assert b"renders its report" in files[f"runs/{run.name}/index.html"]
    again = build_site(project, tmp_path / "site")
    assert (again.built, again.held) == (0, {run.name: HELD})
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("EVIDENCE_ROOT", str(project.root))
    monkeypatch.delenv("EVIDENCE_RESULTS", raising=False)
    done = CliRunner().invoke(app, ["site", "build", "--json"])
    assert json.loads(done.stdout)["held"] == {run.name: HELD}
    assert "holds a secret in clear in config_snapshot.json, notebook.ipynb" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_what_goes_out_otherwise_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle and a crate hold a run as it was sealed: each says which files have a secret. A public one has none."""
    project = new_project(tmp_path / "project")
    run = old_run(project.root)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("EVIDENCE_ROOT", str(project.root))
    monkeypatch.delenv("EVIDENCE_RESULTS", raising=False)
    said = f"{run.name} holds a secret in clear in config_snapshot.json, notebook.ipynb, tracking.json"
    (run / "report" / "index.html").unlink()
    for command in (["bundle", "--with", "none"], ["export", "--ro-crate"]):
        done = CliRunner().invoke(app, [*command, run.name, "--json"])
        assert done.exception is None, done.output
        assert said in " ".join(done.stderr.split())
    done = CliRunner().invoke(app, ["bundle", run.name, "--public", "--json"])
    assert "holds a secret" not in done.stderr
    assert b"hunter2" not in Path(json.loads(done.stdout)["bundle"]).read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see postgresql://me:pw-7@host/db, then", True),
        ('{"uri":"https://h/x?a=1&token=abc"}', True),
        ("https://h/login?next=https://me:pw-7@h2/", True),
        ("<a href='https://me:pw-7@h/'>", True),
        ("é" * 40 + "mysql://u:pw-7@h", True),
        ("https://h/x?page=2, https://***@h/, mysql://u:***@h and u@h", False),
        ("f'https://{user}:{password}@{host}/' or https://$USER:$PASS@h", False),
        ("://" * 30_000 + "@", False),
    ],
)
def test_addresses_with_a_secret_are_found_in_files(tmp_path: Path, text: str, expected: bool) -> None:
    """In prose, JSON, HTML and within another address; not what is masked already, or what code fills in."""
    run = make_run(new_project(tmp_path / "p").results, varied(1, files={"files/x.txt": text.encode()}))
    assert unmasked_files(run) == (["files/x.txt"] if expected else [])


@pytest.mark.parametrize("unit", ["a", "a.", "a_", "1.", "a+", "a b/", "/a b", "://", "a@", "~a/", "A_="])
def test_long_texts_are_searched_in_a_moment(unit: str) -> None:
    """An error message of a run can be as long as it likes: the time to search it grows with its length, no faster."""
    text = unit * (100_000 // len(unit)) + " @ :// / ="
    assert isinstance(masked_text(text), str)
    assert isinstance(Redactor().text(text), str)
