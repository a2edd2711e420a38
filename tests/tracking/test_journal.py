"""The journal: append-only, checked, safe under parallel writers, cut lines and full disks."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StorageError
from pipeline.tracking.journal import JournalEntry, JournalWriter, decode, encode, read_journal

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(1, 10**9), st.dictionaries(st.text(), JSON, max_size=4))
def test_every_entry_reads_back_equal(seq: int, data: dict[str, object]) -> None:
    """One line per entry, equal after reading, for any JSON value."""
    entry = JournalEntry(seq, 1_760_000_000_000, "params", data)
    line = encode(entry)
    assert line.count(b"\n") == 1
    assert decode(line) == entry


def _journal(path: Path, count: int = 5) -> JournalWriter:
    writer = JournalWriter(path)
    for number in range(count):
        writer.append("metrics", {"items": {"x": number / 3}, "step": number})
    return writer


def test_a_line_cut_anywhere_loses_only_itself(tmp_path: Path) -> None:
    """A crash inside a write costs that entry; what a new writer appends is read again."""
    whole = tmp_path / "whole"
    _journal(whole)
    data = whole.read_bytes()
    start_of_last = data.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(start_of_last, len(data)):
        path = tmp_path / f"cut-{cut}"
        path.write_bytes(data[:cut])
        before = read_journal(path).last
        assert before == (5 if cut == len(data) - 1 else 4)
        JournalWriter(path).append("tags", {"items": {}})
        after = read_journal(path)
        assert [entry.seq for entry in after.entries] == list(range(1, before + 2))
        assert after.entries[-1].kind == "tags"


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """A changed byte makes its line damaged, or leaves an equal value; it never changes one."""
    path = tmp_path / "journal"
    _journal(path, 3)
    data = path.read_bytes()
    entries = read_journal(path).entries
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :])
        assert all(entry in entries for entry in read_journal(path).entries)


def test_threads_share_a_writer(tmp_path: Path) -> None:
    """Entries of many threads are all there, numbered without gaps."""
    writer = JournalWriter(tmp_path / "journal")

    def work(name: int) -> None:
        for number in range(50):
            writer.append("metrics", {"items": {f"m{name}": number}})

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal = read_journal(tmp_path / "journal")
    assert [entry.seq for entry in journal.entries] == list(range(1, 401))
    assert journal.damaged == 0


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from pipeline.errors import StorageError
from pipeline.tracking.journal import JournalWriter, read_journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
writer = JournalWriter(path)
writer.append("params", {"items": {"a": "x" * 100}})
good = path.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) + int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    writer.append("params", {"items": {"b": "x" * 5000}})
    raise SystemExit("no error")
except StorageError as error:
    assert "could not be written" in str(error), error
assert path.read_bytes() == good
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append("params", {"items": {"b": "y"}})
assert [entry.data for entry in read_journal(path).entries][1] == {"items": {"b": "y"}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 1, 100, 4999])
def test_a_full_disk_leaves_no_half_line(tmp_path: Path, room: int) -> None:
    """A write that does not fit is taken back whole and raises StorageError; later ones work."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "journal"), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def test_an_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    """The error names the file and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        JournalWriter(tmp_path / "file" / "journal").append("tags", {})


def test_nan_never_enters_a_journal(tmp_path: Path) -> None:
    """The journal is strict JSON."""
    with pytest.raises(ValueError, match="Out of range"):
        JournalWriter(tmp_path / "journal").append("metrics", {"items": {"x": float("nan")}})
