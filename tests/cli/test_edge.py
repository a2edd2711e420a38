"""Standard streams, interruptions, and the sentences that errors become."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.edge import Lasting, Watched, describe, run_command
from pipeline.cli.failure import MOST_LINES, error_lines, own_frame
from pipeline.errors import DataError
from pipeline.evidence.ledger import RUN_KILLED, RUN_STARTED
from pipeline.evidence.ledger_check import check_ledger
from pipeline.files import write_atomic
from pipeline.run_record import RunError
from pipeline.settings import Settings
from tests.evidence.sealed_runs import FILES, World
from tests.notebooks import write_notebook

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
EVIDENCE = f"{sys.executable} -c 'from pipeline.cli import main; main()'"
TRACEBACK = """
---------------------------------------------------------------------------
ValueError                                Traceback (most recent call last)
Cell In[5], line 1
----> 1 signals = run.strategy_fn()(bars, params)

File ~/project/mine.py:6, in inner(df)
      4 def inner(df):
----> 6     df.groupby("nope").sum()

File /usr/lib/python3.11/site-packages/pandas/core/frame.py:9183, in DataFrame.groupby(self, by)
   9182 )
-> 9183 return DataFrameGroupBy(

KeyError: 'nope'
"""


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which `evidence` is the command."""
    script = f'evidence() {{ {EVIDENCE} "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/disk/a.csv"), ["/disk/a.csv", "Free space"], 1),
        (PermissionError(errno.EACCES, "Permission denied", b"/key\xff"), ["/key", "permissions"], 1),
        (OSError(errno.ENAMETOOLONG, "File name too long", "n"), ["shorter name"], 1),
        (OSError("Cannot save file into a non-existent directory"), ["non-existent directory"], 1),
        (FileNotFoundError(), ["FileNotFoundError"], 1),
        (DataError("no bars"), ["no bars"], 2),
        (KeyboardInterrupt(), ["Interrupted."], 130),
        (MemoryError(), ["not enough memory"], 1),
        (ZeroDivisionError("division by zero"), ["ZeroDivisionError: division by zero", "EVIDENCE_TRACEBACK=1"], 1),
    ],
)
def test_an_error_is_a_sentence(error: BaseException, words: list[str], code: int) -> None:
    """It says what happened, to what, and what to do; the exit code is one of the list."""
    failure = describe(error)
    assert failure.exit_code == code
    assert all(word in failure.message for word in words), failure.message


def test_a_fault_of_ours_is_told_as_one(
    project: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception that nobody thought of: its name, no traceback unless it is asked for, an error in JSON."""

    def fail(*_: object) -> None:
        raise RuntimeError("who would have thought")

    monkeypatch.setattr("pipeline.lake.listing.listed_rows", fail)
    assert run_command(["list", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "RuntimeError"
    assert "who would have thought" in err
    assert "Traceback" not in err
    monkeypatch.setenv("EVIDENCE_TRACEBACK", "1")
    run_command(["list"])
    assert "Traceback" in capsys.readouterr().err


def test_a_path_of_thousands_of_characters_is_cut(project: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence around it stays readable."""
    assert run_command(["show", 5000 * "a"]) == 2
    said = capsys.readouterr().err
    assert len(said) < 1000
    assert "..." in said


def test_a_long_error_is_its_beginning_and_the_own_frame() -> None:
    """Of 320 lines the first ones, where the rest is, and the last frame that is neither a library's nor ours."""
    lines = error_lines(
        RunError("Cell", "\n".join(f"line {n}" for n in range(320)), traceback=TRACEBACK), whole="there"
    )
    assert lines == [
        "line 0", "line 1", "line 2", "... 317 more lines: there",
        'at ~/project/mine.py:6, in inner: df.groupby("nope").sum()',
    ]  # fmt: skip
    short = "\n".join(f"line {n}" for n in range(MOST_LINES))
    assert error_lines(RunError("Cell", short), whole="there") == short.splitlines()
    assert own_frame("") is None
    assert own_frame(TRACEBACK.replace("~/project/mine.py", "<frozen importlib>")) == (
        "Cell In[5], line 1: signals = run.strategy_fn()(bars, params)"
    )


def test_standard_error_lasts_and_standard_output_is_watched() -> None:
    """What cannot be told is dropped; what cannot be printed is an error, once."""
    with Path(os.devnull).open("r") as unwritable:
        assert Lasting(unwritable).write("x") == 1
        assert Lasting(unwritable).encoding == unwritable.encoding
    with Path("/dev/full").open("w") as full:
        watched = Watched(full)
        watched.write("x")
        with pytest.raises(OSError, match="No space"):
            watched.flush()
        assert watched.error is not None
        watched.flush()


@pytest.mark.slow
@pytest.mark.parametrize("words", ["list", "list --json", "--help", "verify --all", "doctor"])
def test_standard_output_may_be_anything(words: str, project: Settings) -> None:
    """Full: a sentence and exit code 1. Closed, or closed by its reader: nothing is said. Never a traceback."""
    World(project.results, None).run()
    full = shell(f"evidence {words} > /dev/full")
    assert (full.returncode, full.stderr.count("\n")) == (1, 1), full.stderr
    assert "Standard output: No space left on device" in full.stderr
    for line in (
        f"evidence {words} >&-",
        f"evidence {words} | true",
        f"evidence {words} 2>&-",
        f"evidence {words} <&-",
    ):
        done = shell(line)
        assert done.stderr == "", line
        assert done.returncode == 0, line


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_terminal_can_show_any_run(encoding: str, project: Settings) -> None:
    """Names of other alphabets: escaped on a terminal that has no such letters, and JSON stays JSON."""
    name = "Bär – 日本 😀"
    spec = json.dumps({"run": {"name": name}, "strategy": {"name": "é"}}).encode()
    World(project.results, None).run(files={**FILES, "config_snapshot.json": spec})
    for words in ("list", "show", "show --json", "list --json"):
        done = subprocess.run(
            ["bash", "-c", f"{EVIDENCE} {words}"],
            capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"},
        )  # fmt: skip
        text = done.stdout.decode(encoding)
        if "--json" in words:
            found = json.loads(text)
            assert (found[0] if isinstance(found, list) else found)["name"] == name


@pytest.mark.slow
def test_a_run_goes_on_when_nobody_reads_its_progress(project: Settings) -> None:
    """`evidence run 2>&1 | head -1`, a closed terminal, a log on a full disk: the run is sealed all the same."""
    options = "--config config/demo.toml --tracking off --no-report -p data.start=2017-01-01"
    for ending in ("2>&1 | true", "2> /dev/full", "2>&-"):
        shell(f"evidence run {options} {ending}")
        found = json.loads(shell("evidence show --json").stdout)
        assert found["status"] == "FINISHED", ending


@pytest.mark.slow
@pytest.mark.parametrize("sent", ENDING)
@pytest.mark.parametrize("words", ["list", "verify --all", "render last", "site build", "doctor", "study list"])
def test_each_moment_may_be_interrupted(words: str, sent: signal.Signals, project: Settings) -> None:
    """Whenever the signal comes: exit code 130 and one sentence, or the command was done already."""
    World(project.results, None).run()
    code = """if True:
        import sys
        from pipeline.cli import edge
        ready = edge.end_as_interrupted
        edge.end_as_interrupted = lambda: (ready(), print("here", file=sys.stderr, flush=True))
        edge.main()"""
    for wait in (0.0, 0.01, 0.03, 0.1, 0.3, 0.6):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words.split()],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=ignore_nothing,  # noqa: PLW1509 - a shell may ignore signals
        )  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline() == "here\n"
        time.sleep(wait)
        process.send_signal(sent)
        _, said = process.communicate(timeout=120)
        assert "Traceback" not in said, said
        assert process.returncode in {0, 130, -sent}, said


@pytest.mark.parametrize("sigint", ["default_int_handler", "SIG_IGN"])
def test_an_interruption_that_python_drops_comes_again(sigint: str) -> None:
    """Raised in a callback of the interpreter it would be a traceback, and the command would go on."""
    code = f"""if True:
        import signal, time
        signal.signal(signal.SIGINT, signal.{sigint})
        from pipeline.cli.interruption import end_as_interrupted
        end_as_interrupted()
        class Dropping:
            def __del__(self):
                raise KeyboardInterrupt
        try:
            Dropping()
            time.sleep(20)
        except KeyboardInterrupt:
            print("interrupted")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=True)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def ignore_nothing() -> None:
    """Be interrupted by what a shell in the background, or `nohup`, lets its commands ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("sent", ENDING)
def test_a_run_that_is_interrupted_within_a_cell_says_one_sentence(project: Settings, sent: signal.Signals) -> None:
    """Ctrl-C, a job's end, a closed terminal: exit code 130, no traceback of any library, the ledger knows of it."""
    mark = project.root / "busy"
    write_notebook(project.root / "notebooks" / "busy.ipynb", f"open({str(mark)!r}, 'w').close()\nwhile True: pass")
    (project.root / "busy.toml").write_text('[run]\nnotebook = "notebooks/busy.ipynb"\n[tracking]\nmode = "off"\n')
    words = ["run", "-c", "busy.toml", "--no-check"]
    code = "from pipeline.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--no-report"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=ignore_nothing,  # noqa: PLW1509
    )  # fmt: skip
    while not mark.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(sent)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Traceback" not in said + out
    assert said.splitlines()[-1].startswith("Interrupted. "), said
    ledger = check_ledger(project.results / "ledger.jsonl")
    assert [entry.event.kind for entry in ledger.entries] == [RUN_STARTED, RUN_KILLED]


@pytest.mark.slow
def test_a_search_on_a_full_disk_is_a_sentence(project: Settings, full_disk: Path) -> None:
    """The disk fills while trials are recorded: what was recorded stays, and the same command goes on from there."""
    sweep = project.root / "sweep.toml"
    sweep.write_text(
        '[data]\nstart = "1999-01-04"\n[tracking]\nmode = "off"\n[report]\nenabled = false\n'
        '[sweep]\nsampler = "grid"\nbest = 0\n[space]\nfast = {low = 5, high = 60}\nslow = {low = 70, high = 200}\n'
    )
    done = shell(f"EVIDENCE_RESULTS={full_disk} evidence sweep -c {sweep} -q --executor inline")
    assert done.returncode == 1, done.stderr
    assert "could not be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    listed = shell(f"EVIDENCE_RESULTS={full_disk} evidence study list")
    assert listed.returncode == 0, listed.stderr


def test_a_table_is_written_whole_or_not_at_all(project: Settings, full_disk: Path) -> None:
    """On a full disk there is no part of it under its final name, nor under another."""
    with pytest.raises(Exception, match="could not be written"):
        write_atomic(full_disk / "trials.parquet", bytes(2 << 20))
    assert [*full_disk.iterdir()] == []
