"""Rules that hold for every command there is, taken from the command line itself: a new one cannot slip by."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from pipeline.cli.app import app, every_command
from pipeline.cli.edge import run_command
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from tests.conftest import small_file_system
from tests.evidence.sealed_runs import World
from tests.tiers import mostly_slow

COMMANDS: dict[str, Any] = dict(every_command())
SERVERS = ("ui", "site serve", "serve")
REQUIRED = {  # what a command cannot be called without
    "config": "config/demo.toml",
    "data": "ab" * 32,
    "before": "last",
    "checkpoint": f"0:{64 * 'a'}",
    "token": "token.tsr",
    "sql": "SELECT COUNT(*) AS n FROM runs",
    "files": "sample:sp500",
    "symbol": "SPX",
    "freq": "1d",
    "name": "a colleague",
}
FAULT = "fault of evidence"  # what is said of an error that nobody thought of

EVERYDAY = ("run", "list", "show", "verify", "render", "bundle", "ledger check", "study list")
each_command = pytest.mark.parametrize("name", COMMANDS)
everyday_command = pytest.mark.parametrize(
    "name", mostly_slow(COMMANDS, *(place for place, name in enumerate(COMMANDS) if name in EVERYDAY))
)


@pytest.fixture
def run(project: Settings) -> RunDir:
    """Return a sealed run in a project that also has a file for a time stamp."""
    (project.root / "token.tsr").write_bytes(b"no token")
    return World(project.results, None).run()


def is_option(item: Any) -> bool:
    return str(item.opts[0]).startswith("-")


def options(name: str) -> list[str]:
    return [option for item in COMMANDS[name].params for option in item.opts if option.startswith("-")]


def needed(name: str, **given: str) -> list[str]:
    """Return the words of a call: the command, what it cannot be called without, and what is given."""
    words, arguments = name.split(), []
    for item in COMMANDS[name].params:
        value = given.get(item.name, REQUIRED[item.name] if item.required else None)
        if value is None:
            continue
        if is_option(item):
            words += [item.opts[0], value]
        else:
            arguments.append(value)
    return [*words, *(["--ro-crate"] if name == "export" else []), *arguments]


def files() -> dict[Path, int]:
    """Return the files of the project and of the user's configuration, with their sizes."""
    roots = (Path.cwd(), Path(os.environ["XDG_CONFIG_HOME"]))
    found = [path for root in roots for path in root.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.stat().st_size if path.is_file() else -1 for path in found}


def call(capsys: pytest.CaptureFixture[str], words: list[str]) -> tuple[int, str]:
    """Call the command line; whatever goes wrong has an exit code of the list, and a sentence and no traceback.

    After exit code 2 every file is what it was before.
    """
    capsys.readouterr()
    before = files()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # as `main` does
    code = run_command(words)
    out, err = capsys.readouterr()
    said = f"{shlex.join(words)[:300]} -> {code}\n{out[-500:]}\n{err[-2000:]}"
    assert code in {0, 1, 2, 3, 4}, said
    assert "Traceback" not in err + out, said
    assert FAULT not in err, said
    if code == 2 or (code == 1 and not out):
        assert err.strip(), said
    assert code != 2 or files() == before, said
    return code, out


@each_command
def test_each_help_ends_with_an_example_that_is_understood(name: str, run: RunDir, monkeypatch: Any) -> None:
    """The last line of a help text is a call of the command itself, with options that exist."""
    monkeypatch.setenv("COLUMNS", "80")
    command = COMMANDS[name]
    context = command.make_context(name, [], resilient_parsing=True)
    last = command.get_help(context).splitlines()[-1].strip()
    assert last.startswith(f"evidence {name}"), last
    words = shlex.split(last)[1 + len(name.split()) :]
    command.make_context(name, words)


@each_command
def test_each_command_prints_json(name: str) -> None:
    """`--json` is an option of every command, so that a program needs to know no exceptions."""
    assert "--json" in options(name)


@each_command
def test_each_command_names_things_alike(name: str) -> None:
    """A chosen place is `--output` or `-o`; no run, no sweep has to be named; an option has one meaning everywhere."""
    given = options(name)
    assert ("-o" in given) == ("--output" in given)
    assert not {"--out", "--explain", "--dest"} & {*given}
    for item in COMMANDS[name].params:
        if not is_option(item) and item.metavar in {"RUN_ID", "SWEEP", "RUN_ID..."}:
            assert not item.required, f"{item.name} defaults to `last`, as everywhere"


@everyday_command
def test_each_command_says_that_a_run_is_not_there(name: str, run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the same JSON document for every error."""
    places = [item for item in COMMANDS[name].params if not is_option(item) and item.name not in {"token", "directory"}]
    if not places:
        pytest.skip("it takes no run")
    code, _ = call(capsys, needed(name, **{places[-1].name: "ffffffff"}))
    assert code == 2
    code, out = call(capsys, [*needed(name, **{places[-1].name: "ffffffff"}), "--json"])
    assert code == 2
    assert set(json.loads(out)["error"]) == {"kind", "message"}


def wrong_paths(root: Path) -> list[str]:
    """Return paths that no file can be read from or written to, each for a reason of its own."""
    (root / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (root / "binary.zip").write_bytes(b"\xff\xfe\x00")
    return [
        "/proc/none/file.csv",
        "config",
        "binary.toml",
        "binary.zip",
        3000 * "n",
        "token.tsr/below",
        "",
        "\0",
        "\udcff",
    ]


@pytest.mark.slow
@each_command
def test_each_command_says_that_a_path_is_wrong(
    name: str, run: RunDir, project: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path that is not there, a directory, a file, no UTF-8, too long: a sentence, whatever the path is for."""
    hints = get_type_hints(COMMANDS[name].callback)
    places = [key for key, kind in hints.items() if "Path" in str(kind) or key == "template"]
    if not places:
        pytest.skip("it takes no path")
    for place in places:
        for path in wrong_paths(project.root):
            if name in SERVERS and not path:
                continue  # an empty path is the project, which is then served
            call(capsys, needed(name, **{place: path}))


@everyday_command
def test_each_command_says_that_nothing_can_be_written(
    name: str, run: RunDir, project: Settings, read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a results directory, and a working directory, that are read-only."""
    if name in SERVERS or name in {"keys init", "keys rotate"}:
        pytest.skip("it needs no such directory")
    call(capsys, needed(name))


@everyday_command
def test_each_command_says_that_the_results_are_a_file(
    name: str, project: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """EVIDENCE_RESULTS that is a file, EVIDENCE_ROOT that is not there: exit code 2, and what to do."""
    if name == "init":
        pytest.skip("it needs no project")
    (project.root / "token.tsr").write_bytes(b"no token")
    for variable, value in (("EVIDENCE_RESULTS", "config/demo.toml"), ("EVIDENCE_ROOT", "/proc/none")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            code, _ = call(capsys, needed(name))
        assert code == 2 or name == "keys export", f"{variable} of {name}"


@pytest.fixture
def read_only(project: Settings, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the project's directory, of which nothing can be changed any more."""
    import shutil
    import subprocess

    for place in small_file_system(tmp_path / "read_only", "20m"):
        root = place / "project"
        shutil.copytree(project.root, root)
        monkeypatch.chdir(root)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield root
        monkeypatch.chdir(project.root)


def test_the_commands_are_those_of_the_program() -> None:
    """What the rules above are tried on is all there is."""
    assert len(COMMANDS) >= 30
    assert app.info.name == "evidence"
    assert os.environ["XDG_CONFIG_HOME"] not in {"", str(Path.home())}, "no test may touch a key of whoever runs it"
