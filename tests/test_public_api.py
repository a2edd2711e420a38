"""The public names: `pipeline.__all__`, their homes, what type checkers see, and docs/api.md say the same."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest
import typer.main

import pipeline
from pipeline.cli.app import app
from pipeline.digest import sha256_file
from pipeline.errors import UsageError
from pipeline.kernels import ForkServer
from pipeline.results.identity import NOT_RECONCILABLE, NOT_RECONCILED, RECONCILED
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.site.site_runs import make_runs, varied

REPOSITORY = Path(__file__).resolve().parent.parent
PLAIN_WORDS = {
    "init",
    "run",
    "render",
    "list",
    "find",
    "show",
    "doctor",
    "sync",
    "ui",
    "verify",
    "keys",
}  # explained elsewhere
WORDS = {RECONCILED, NOT_RECONCILED, NOT_RECONCILABLE, "SIGNED", "PSR", "DSR", "PBO", "trial", "consistent"}


def test_lazy_homes_and_type_checkers_agree() -> None:
    """A name is listed once, is found where its home says, and is imported from there for type checkers."""
    tree = ast.parse(Path(str(pipeline.__file__)).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert list(pipeline._HOMES) == sorted(pipeline.__all__) == pipeline.__all__
    assert seen == pipeline._HOMES
    for name, home in pipeline._HOMES.items():
        assert getattr(pipeline, name) is getattr(importlib.import_module(home), name)


def test_no_public_name_is_that_of_a_package() -> None:
    """Importing `pipeline.sweep` must not take a function's place."""
    assert not {path.stem for path in Path(str(pipeline.__file__)).parent.iterdir()} & set(pipeline.__all__)


def test_every_public_name_is_described() -> None:
    """docs/api.md has a heading for each name, and none for any other."""
    text = (REPOSITORY / "docs/api.md").read_text(encoding="utf-8")
    assert sorted(line[4:] for line in text.splitlines() if line.startswith("### ")) == sorted(pipeline.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'verifi'"):
        pipeline.verifi  # noqa: B018


def test_the_glossary_has_the_words_of_commands_and_marks() -> None:
    """What the command line and the reports are about is explained, if it is not a plain word."""
    table = (REPOSITORY / "docs/glossary.md").read_text(encoding="utf-8")
    entries = {
        word.strip(" `")
        for line in table.splitlines()
        if line.startswith("| ")
        for word in line.split("|")[1].split(",")
    }
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert commands | {"verify"} >= PLAIN_WORDS
    assert (commands - PLAIN_WORDS) | WORDS <= entries


@pytest.mark.slow
def test_what_the_commands_do_is_a_call_away(project: Settings, server: ForkServer | None) -> None:
    """From a notebook of one's own to a report, a bundle, a replay and a website, without the command line."""
    spec = RunSpec.from_mapping({"data": {"start": "2015-01-01"}, "report": {"enabled": False}})
    before, run = (pipeline.run_backtest(spec, kernels=server).run for _ in range(2))
    assert pipeline.load_run("last").run_id == run.run_id
    assert pipeline.render_report(run).report_sha256 == sha256_file(run.dir.report)
    assert pipeline.verify().verdict == "ok, unsigned"
    assert pipeline.verify(run.dir.path).verdict == "consistent"
    assert pipeline.recompute(run).equal
    assert pipeline.explain(before.run_id, run).equal
    assert pipeline.replay_run(run, discard=True).equal
    info = pipeline.make_bundle(run, project.root / "run.zip")
    assert (pipeline.verify(info.path).verdict, pipeline.verify(str(info.path)).run_id) == ("consistent", run.run_id)
    assert pipeline.replay_run(info.path).equal
    assert pipeline.verify(pipeline.make_bundle(run, "public.zip", public=True).path).verdict == "consistent"
    assert pipeline.build_site("_site").runs == 2
    run.dir.stats.write_bytes(run.dir.stats.read_bytes() + b" ")
    assert [problem.path for problem in pipeline.verify(run.run_id).problems] == ["stats.json"]
    with pytest.raises(pipeline.EvidenceError, match=r"stats\.json"):
        pipeline.make_bundle(run)


def test_what_the_functions_do_not_take_is_told(project: Settings) -> None:
    """A part that there is not, and a file that there cannot be, are UsageErrors; a name of a file may be text."""
    run = make_runs(project.results, [varied(1, bars=30)])[0]
    with pytest.raises(UsageError, match="'data' cannot go along"):
        pipeline.make_bundle(run.run_id, parts=["data"])
    for path in (Path("a" * 5_000), Path("none.zip")):
        with pytest.raises(UsageError, match="There is no "):
            pipeline.verify(path)
    info = pipeline.make_bundle(run.run_id, "run.zip", parts=[])
    assert info.path == Path("run.zip")
    assert pipeline.verify("run.zip").run_id == run.run_id
