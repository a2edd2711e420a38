"""The watch: what counts as read, with which digest, and that the user's own calls never notice it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.digest import sha256_bytes
from pipeline.inputs import digesting, watch
from pipeline.inputs.observed import MISSING, Observed
from pipeline.inputs.places import Known, Stamp, stamp_of
from tests.inputs.watching import by_itself, files_read, watched


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty project as the current directory."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    monkeypatch.chdir(root)
    return root


def write(path: Path, text: str = "a,b\n1,2\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return sha256_bytes(text.encode())


def test_a_file_is_seen_however_it_is_opened(root: Path) -> None:
    """Relative, absolute, as bytes, by a descriptor, through another directory: one file, one digest."""
    digest = write(root / "data" / "a.csv")

    def read() -> None:
        Path("data/a.csv").read_text()
        open(os.fsencode(root / "data" / "a.csv"), "rb").close()
        descriptor = os.open("data/../data/a.csv", os.O_RDONLY)
        with open(descriptor) as file:
            file.read()
        os.chdir("data")
        Path("a.csv").read_text()

    (found,) = files_read(root, read).values()
    assert (found.path, found.sha256, found.size, found.doors) == ("data/a.csv", digest, 8, ("open",))
    assert (found.changed_to, found.by_the_run, found.made, found.declared) == (None, False, False, None)


def test_what_is_no_input_is_not_seen(root: Path, tmp_path: Path) -> None:
    """Outside of the directories, results, caches, libraries, modules that are recorded already, what is not there."""
    for name in (
        "results/x/equity.csv",
        ".git/HEAD",
        "a/__pycache__/m.pyc",
        ".venv/lib/x.txt",
        "mlflow.db",
        "mlruns/m",
    ):
        write(root / name)
    write(root / "mymodule_seen.py", "x = 1\n")
    write(tmp_path / "elsewhere.csv")

    def read() -> None:
        for path in (*root.rglob("*"), tmp_path / "elsewhere.csv", Path(os.__file__)):
            if path.is_file():
                path.read_bytes()
        for missing in ("data/none.csv", "data"):
            with pytest.raises(OSError, match=r"No such file|directory"):
                Path(missing).read_bytes()
        __import__("mymodule_seen")

    sys.path.insert(0, str(root))
    try:
        assert files_read(root, read) == {}
    finally:
        sys.path.remove(str(root))
        sys.modules.pop("mymodule_seen", None)


def test_a_script_that_is_read_but_not_imported_is_an_input(root: Path) -> None:
    """Code that is executed from its text is in no record of modules."""
    digest = write(root / "settings.py", "fast = 3\n")
    seen = files_read(root, lambda: exec(Path("settings.py").read_text(), {}))
    assert seen["settings.py"].sha256 == digest


def test_data_directories_may_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    """Only the directories that are set count; a file outside of the project has its whole name."""
    write(root / "data" / "a.csv")
    write(tmp_path / "market" / "b.csv")

    def read() -> None:
        Path("data/a.csv").read_text()
        (tmp_path / "market" / "b.csv").read_text()

    assert [*files_read(root, read, tmp_path / "market")] == [(tmp_path / "market" / "b.csv").as_posix()]


def test_below_the_home_directory_nobodys_name_is_told(root: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """A path that a replay can find, without the name of whoever ran it."""
    monkeypatch.setenv("HOME", str(tmp_path / "jane"))
    write(tmp_path / "jane" / "market" / "b.csv")
    seen = files_read(root, (tmp_path / "jane" / "market" / "b.csv").read_text, tmp_path / "jane" / "market")
    assert [*seen] == ["~/market/b.csv"]


def test_what_the_run_wrote_is_not_its_input(root: Path) -> None:
    """Neither when it was written in place, nor under another name first."""

    def act() -> None:
        Path("data/out.csv").write_text("1")
        Path("data/part").write_text("2")
        os.replace("data/part", "data/final.csv")
        for name in ("data/out.csv", "data/final.csv"):
            Path(name).read_text()

    assert files_read(root, act) == {}


def test_a_copied_file_is_an_input_under_its_first_name(root: Path) -> None:
    """The copy is the run's own."""
    write(root / "data" / "a.csv")

    def act() -> None:
        shutil.copyfile("data/a.csv", "data/copy.csv")
        Path("data/copy.csv").read_text()

    assert [*files_read(root, act)] == ["data/a.csv"]


def test_an_input_that_the_run_overwrites_is_digested_before(root: Path) -> None:
    """The digest is that of what was read, and the other one is named; whichever way it is overwritten."""
    before = {name: write(root / "data" / name, name * 100_000) for name in ("w", "a", "r", "d", "p")}

    def act() -> None:
        for name in before:
            Path("data", name).read_text()
        Path("data/w").write_text("new")
        with open("data/a", "a") as file:
            file.write("more")
        Path("part").write_text("other")
        os.replace("part", "data/r")
        os.remove("data/d")
        with open("data/p", "r+") as file:
            file.write("P")

    seen = files_read(root, act)
    assert {file.path[-1]: file.sha256 for file in seen.values()} == before
    assert seen["data/w"].changed_to == sha256_bytes(b"new")
    assert seen["data/d"].changed_to == MISSING
    assert {file.path[-1] for file in seen.values() if file.by_the_run} == {"w", "a", "r", "p"}


def test_a_file_that_somebody_else_changed_is_named_with_both_digests(root: Path) -> None:
    """What was read, and what is there now; a sentence says it."""
    first = write(root / "data" / "a.csv")
    with watched(root) as seen:
        Path("data/a.csv").read_text()
        (current,) = watch.watching()
        (reading,) = current._readings[str(root / "data" / "a.csv")]
        assert reading.digested.wait(10)
        current.look_away()
        second = write(root / "data" / "a.csv", "changed")
    (file,) = seen[0].files
    assert (file.sha256, file.changed_to, file.by_the_run) == (first, second, False)
    assert [*seen[0].warnings()] == [
        f"Changed after the notebook had read it: data/a.csv (sha256:{first[:12]} -> sha256:{second[:12]})."
    ]


def test_a_file_made_while_the_run_was_executed_is_marked(root: Path) -> None:
    """A writer that was not seen, a child process or native code, made it."""

    def act() -> None:
        time.sleep(0.05)  # a file's time is that of the last tick of a coarse clock
        os.system("printf 1 > data/child.csv")
        Path("data/child.csv").read_text()

    assert files_read(root, act)["data/child.csv"].made


def test_a_content_is_digested_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read again, through a link, or known before: the file is not read for its digest another time."""
    digest = write(root / "data" / "a.csv")
    write(root / "data" / "known.csv", "known")
    os.link(root / "data" / "a.csv", root / "data" / "same.csv")
    read_for_digest: list[str] = []
    from pipeline.inputs import digesting

    original = digesting.digest_of

    def counted(path: str, stamp: Stamp) -> str | None:
        read_for_digest.append(path)
        return original(path, stamp)

    monkeypatch.setattr(digesting, "digest_of", counted)
    known = root / "data" / "known.csv"
    declared = {str(known): Known("data", "f" * 64, stamp_of(known.stat()))}
    with watched(root, declared=declared) as seen:
        for name in ("a.csv", "same.csv", "a.csv", "known.csv"):
            Path("data", name).read_text()
    assert {file.path: file.sha256 for file in seen[0].files} == {
        "data/a.csv": digest, "data/same.csv": digest, "data/known.csv": "f" * 64,
    }  # fmt: skip
    assert read_for_digest == [str(root / "data" / "a.csv")]
    assert {file.path: file.declared for file in seen[0].files}["data/known.csv"] == "data"


def test_a_database_is_seen(root: Path) -> None:
    """SQLite opens its file in native code; the event has a path, or a URI."""
    with sqlite3.connect(root / "data" / "x.db") as connection:
        connection.execute("create table t (a)")
    connection.close()

    def read() -> None:
        for name, uri in (("data/x.db", False), (f"file:{root}/data/x.db?mode=ro", True), (":memory:", False)):
            sqlite3.connect(name, uri=uri).close()

    assert files_read(root, read)["data/x.db"].doors == ("sqlite3",)


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", "prod.env", ".netrc", "id_rsa", "server.key", "client.pem", "credentials.json"),
        *(".aws/config", "api_token.txt", "my_credentials.csv", "service-account-12.json", ".config/gcloud/x.db"),
        "db_password",
    ],
)
def test_secrets_are_neither_digested_nor_named(root: Path, name: str) -> None:
    """They are counted; nothing else is left of them, wherever they lie."""
    write(root / name, "hunter2")
    with watched(root) as seen:
        (root / name).read_text()
    assert by_itself(seen[0]) == Observed(secrets=1)
    assert name not in str(seen[0].to_dict())


@pytest.mark.parametrize("name", ["token_prices.csv", "tokens.parquet", "keys.csv", "environment.csv", "passes.json"])
def test_data_is_not_taken_for_a_secret(root: Path, name: str) -> None:
    """What ends as data ends is data, whatever is traded."""
    write(root / name)
    assert [*files_read(root, (root / name).read_text)] == [name]


def test_the_users_calls_go_on_whatever_happens_here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the hook is written down, and that is all."""
    write(root / "data" / "a.csv", "content")

    def broken(*_: object) -> None:
        raise RuntimeError("no luck")

    with watched(root) as seen:
        monkeypatch.setattr(watch.watching()[0], "_note", broken)
        assert Path("data/a.csv").read_text() == "content"
        with pytest.raises(FileNotFoundError):
            Path("data/none").read_text()
        with pytest.raises(ValueError, match="embedded null"):
            open("data/a\0b")
    assert seen[0].failed == "RuntimeError: no luck"
    assert [*seen[0].warnings()] == ["What the notebook read is not fully recorded: RuntimeError: no luck."]


def test_every_thread_is_seen(root: Path) -> None:
    """Readers in threads, at the same time."""
    names = [f"data/{number}.csv" for number in range(40)]
    digests = {name: write(root / name, name) for name in names}

    def read() -> None:
        threads = [threading.Thread(target=Path(name).read_text) for name in names * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert {name: file.sha256 for name, file in files_read(root, read).items()} == digests


def test_nothing_is_seen_after_the_end(root: Path) -> None:
    """The hook stays and is silent; another watch begins with nothing."""
    write(root / "data" / "a.csv")
    assert [*files_read(root, Path("data/a.csv").read_text)] == ["data/a.csv"]
    Path("data/a.csv").read_text()
    assert by_itself(watch.stop()) == Observed()
    assert files_read(root, lambda: None) == {}


def test_the_record_reads_back(root: Path) -> None:
    """What is written is what is read; what later versions add is passed over."""
    write(root / "data" / "a.csv")
    with watched(root) as seen:
        Path("data/a.csv").read_text()
    values = seen[0].to_dict()
    values["files"][0]["later"] = values["later"] = 1
    assert Observed.from_dict(values) == seen[0]


def test_a_digest_waits_until_the_reader_has_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread takes no core from who reads a file; what is needed at once is digested by who needs it."""
    monkeypatch.setattr(digesting, "LATER_ON", 3600.0)
    digest = write(root / "data" / "a.csv")
    write(root / "data" / "b.csv", "b")
    with watched(root) as seen:
        for name in ("a.csv", "b.csv"):
            Path("data", name).read_text()
        found = watch.watching()[-1]._readings
        assert not any(reading.begun for some in found.values() for reading in some)
        Path("data/a.csv").write_text("other")
        (reading,) = found[str(root / "data" / "a.csv")]
        assert reading.sha256 == digest
    assert {file.path: file.sha256 for file in seen[0].files} == {
        "data/a.csv": digest,
        "data/b.csv": sha256_bytes(b"b"),
    }
