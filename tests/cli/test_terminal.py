"""What reaches the terminal is text: no code of an exception, a name or a path, no secret of an old run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import pipeline.cli
from pipeline.cli.edge import run_command
from pipeline.cli.plain import one_line, plain
from pipeline.digest import canonical_json
from pipeline.errors import CellFailedError
from pipeline.escape import code_span
from pipeline.evidence.compare import Inputs, compare_inputs
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.tracking.uri import run_url
from tests.evidence.sealed_runs import FILES, World

CODES = "\x1b[2J\x1b]0;title\x07\x9b31m\x7f\u202eevil\u2066\u200f\rover\x00"
PASSWORD = "hunter2"
COMMANDS = (
    ["list"],
    ["show", "last"],
    ["verify", "last"],
    ["verify", "--all"],
    ["explain", "last", "OTHER"],
    ["doctor"],
)


def hostile_run(settings: Settings) -> RunDir:
    """Seal a run whose every text holds codes for the terminal, and one file that was named by an enemy."""
    config = RunSpec().to_dict()
    config["run"] |= {"name": CODES, "experiment": CODES, "tags": {CODES: CODES}}
    config["strategy"] = {"name": CODES, "params": {CODES: CODES}}
    config["data"] = {"source": CODES, "symbol": CODES}
    tracking = {"tracking_uri": CODES, "mlflow_run_id": CODES, "run_url": f"http://x/{CODES}", "experiment_id": CODES}
    files = {
        "config_snapshot.json": canonical_json(config),
        "stats.json": json.dumps({"sharpe": CODES, CODES: 1.0, "total_return": CODES}).encode(),
        "tracking.json": json.dumps(tracking).encode(),
    }
    run = World(settings.results, None).run(files=FILES | files, warnings=(CODES,))
    (run.path / f"added{CODES.replace(chr(0), '')}").write_bytes(b"x")
    return run


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_code_reaches_the_terminal(
    project: Settings, capsys: pytest.CaptureFixture[str], command: list[str], as_json: bool
) -> None:
    """Escape sequences, bells, C1 controls and turned text are shown as marks; in JSON they are escapes, and whole."""
    other = World(project.results, None).run()
    run = hostile_run(project)
    words = [{"last": run.run_id, "OTHER": other.run_id}.get(word, word) for word in command]
    run_command([*words, *(["--json"] if as_json else [])])
    out, err = capsys.readouterr()
    assert {char for char in out + err if not char.isprintable()} <= {"\n", "\t"}
    assert not as_json or json.loads(out)


def test_json_holds_the_text_as_it_is(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs nothing is replaced: what JSON escapes reads back to the same text."""
    hostile_run(project)
    assert run_command(["show", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == CODES


def test_an_error_s_text_is_printed_without_codes(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The message of any error, as the edge says it: lines stay, codes do not."""
    from pipeline.cli.edge import _tell

    _tell(CellFailedError(f"one\ntwo {CODES}", cell=1, ename="E", evalue="x", traceback=""), as_json=True)
    out, err = capsys.readouterr()
    assert err.startswith("Error: one\ntwo �[2J")
    assert {char for char in out + err if not char.isprintable()} <= {"\n"}


def test_only_one_module_prints() -> None:
    """What the other modules of the command line print goes through it, or through rich's console of this package."""
    for path in Path(pipeline.cli.__file__).parent.glob("*.py"):
        printed = re.findall(r"(?<![\w.])print\((?!json\.dumps)", path.read_text(encoding="utf-8"))
        assert path.name == "plain.py" or not printed, path.name
        assert path.name == "console.py" or "import Console" not in path.read_text(encoding="utf-8"), path.name


def test_text_that_people_write_stays() -> None:
    """Letters of any script, emoji, tabs; a name has no second line."""
    text = "Straße\t𝒳 שלום 日本語 👍\nnext"
    assert plain(text) == text
    assert one_line("a\nok") == "a�ok"
    assert plain("a\r\nb") == "a\nb"


@pytest.mark.parametrize(
    "name", ["a`b", "``", "", "<img src=x onerror=alert(1)>", "[x](javascript:y)", "a\n\n# b", "*b*"]
)
def test_a_name_in_mlflow_s_note_is_only_a_name(name: str) -> None:
    """The description is Markdown, in which a strategy's or an instrument's name must not mark anything up."""
    shown = code_span(name)
    assert shown[0] == shown[-1] == "`"
    assert "`" not in shown[1:-1]
    assert "\n" not in shown
    assert len(shown) > 2


@pytest.mark.parametrize("command", [["list", "--json"], ["show", "last"], ["show", "last", "--json"]])
def test_the_password_of_an_old_run_is_not_shown(
    project: Settings, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """A run that was sealed when specs could hold one keeps it in its files; nothing shows it."""
    other = World(project.results, None).run()
    run = old_run(project)
    run_command([{"last": run.run_id, "OTHER": other.run_id}.get(word, word) for word in command])
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err
    assert "***" in out


@pytest.mark.slow
def test_the_password_of_an_old_run_is_not_on_its_pages(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the report nor any page of the website shows it."""
    run = old_run(project)
    assert run_command(["render", "last"]) == 0
    assert PASSWORD not in run.report.read_text(encoding="utf-8")
    assert run_command(["site", "build", "--jobs", "1"]) == 0
    pages = [path for path in (project.root / "_site").rglob("*") if path.suffix in {".html", ".js", ".json"}]
    held = [path.name for path in pages if PASSWORD.encode() in path.read_bytes()]
    assert pages
    assert set(held) <= {"config_snapshot.json", "tracking.json", "manifest.json"}, (
        "sealed files are copied as they are"
    )


def old_run(settings: Settings) -> RunDir:
    """Seal a run whose spec has a password in its tracking section, and a token among its parameters."""
    config = RunSpec().to_dict()
    url = f"http://alice:{PASSWORD}@mlflow.example:5000"
    config["tracking"] |= {"uri": url, "ui_url": url}
    config["run"]["parameters"] = {"api_token": PASSWORD}
    config["data"] = {"source": f"{url}/bars.csv", "symbol": None}
    tracking = {
        "tracking_uri": url,
        "mlflow_run_id": "a" * 32,
        "experiment_id": "1",
        "run_url": f"{url}/#/experiments/1",
    }
    files = {"config_snapshot.json": canonical_json(config), "tracking.json": json.dumps(tracking).encode()}
    return World(settings.results, None).run(files=FILES | files, warnings=(f"{url} was slow",), report=None)


def test_what_differs_in_a_spec_is_shown_without_its_secrets() -> None:
    """Runs of the time when specs could hold passwords differ in them, and `explain` says so, and no more."""
    before, after = (
        Inputs({"tracking.uri": f"http://alice:{word}@x", "run.parameters.api_token": word}, None, None)
        for word in (PASSWORD, f"{PASSWORD}3")
    )
    found = [item for items in compare_inputs(before, after) for item in items]
    assert {item.name for item in found} == {"tracking.uri", "run.parameters.api_token"}
    assert not any(PASSWORD in str(item) for item in found)


def test_a_link_to_mlflow_s_interface_has_no_password() -> None:
    """Whoever gives the address: a spec, the environment, `MLflowTracker(ui_url=...)`."""
    url = run_url("sqlite:///x", f"http://alice:{PASSWORD}@mlflow.example/", "1", "a")
    assert url == "http://alice:***@mlflow.example/#/experiments/1/runs/a"
