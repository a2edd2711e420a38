"""What counts as the same output of a cell, and what does not."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from nbformat import v4

from pipeline.replay.cells import CellDifference, Executed, compare_notebooks

RUN_A = "11111111-1111-4111-8111-111111111111"
RUN_B = "22222222-2222-4222-8222-222222222222"
PICTURE = "iVBORw0KGgo"


def executed(path: Path, run_id: str, day: int, *cells: v4.nbbase.NotebookNode | list[object]) -> Executed:
    notebook = v4.new_notebook(
        cells=[
            v4.new_code_cell(f"run_id = '{run_id}'", metadata={"tags": ["injected-parameters"]}),
            *(v4.new_code_cell(f"cell {number}", outputs=outputs) for number, outputs in enumerate(cells)),
        ]
    )
    path.write_text(json.dumps(notebook))
    begin = dt.datetime(2024, 5, day, 12, tzinfo=dt.UTC)
    return Executed(path, run_id, begin, begin + dt.timedelta(minutes=1))


def stream(text: str, name: str = "stdout") -> v4.nbbase.NotebookNode:
    return v4.new_output("stream", name=name, text=text)


def result(**data: str) -> v4.nbbase.NotebookNode:
    kinds = {"text": "text/plain", "html": "text/html", "png": "image/png"}
    return v4.new_output("execute_result", data={kinds[name]: value for name, value in data.items()}, execution_count=1)


def differences(
    tmp_path: Path, before: list[object], after: list[object], tolerance: float | None = None
) -> tuple[CellDifference, ...]:
    a = executed(tmp_path / "a.ipynb", RUN_A, 1, [], before)
    b = executed(tmp_path / "b.ipynb", RUN_B, 20, [], after)
    return compare_notebooks(a, b, tolerance=tolerance)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (RUN_A, RUN_B),
        (f"run {RUN_A[:8]}", f"run {RUN_B[:8]}"),
        ("/home/a/project/results/x.csv", "/srv/b/results/x.csv"),
        (r"C:\work\project\x.csv", "/srv/b/x.csv"),
        ("at 2024-05-01T12:00:30.5Z", "at 2024-05-20T12:00:01Z"),
        ("on 2024-05-01 14:00:30", "on 2024-05-20 07:00:01"),
        ("<object at 0x7f12ab34cd56>", "<object at 0x7fffab34cd56>"),
        ("Wall time: 5.1 ms", "Wall time: 312 µs"),
        ("CPU times: user 3 ms, sys: 1 ms, total: 4 ms", "CPU times: user 9 ms, sys: 1 ms, total: 10 ms"),
        ("100%|####| 10/10 [00:00<00:00, 2000.1it/s]", "100%|####| 10/10 [00:01<00:00, 9.1it/s]"),
        (
            "\rrun:  20%|#   | 9/45 [00:02<00:07, 4b/s]\rrun:  97%|####| 44/45 [00:03<00:00, 4b/s]",
            "\rrun:  14%|#   | 6/45 [00:02<00:12, 3b/s]\rrun:  41%|##  | 18/45 [00:04<00:18, 3b/s]",
        ),
        ("\r 20%|#   | 9/45 [00:02<00:07, 4b/s]\r                                   \r", ""),
        (
            "\rrun:   0%| | 0/9 [00:00<?, ?b/s]\r        \r/a.py:1: Warned\n\r       \r\r     /a.py:1: Warned\n",
            "\rrun:   0%| | 0/9 [00:00<?, ?b/s]/a.py:1: Warned\n\r/a.py:1: Warned\n",
        ),
        ("/a/tqdm/auto.py:21: TqdmWarning: IProgress not found.\n  from .autonotebook import tqdm\ndone", "done"),
    ],
)
def test_what_differs_from_run_to_run_is_no_difference(tmp_path: Path, before: str, after: str) -> None:
    """run_id, paths, the time of the run, addresses and durations are not results."""
    assert differences(tmp_path, [stream(before + "\n")], [stream(after + "\n")]) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("9 of 10\rloss 1.5\n", "9 of 10\rloss 1.6\n"),
        ("sharpe 0.5676", "sharpe 0.5677"),
        ("last bar 2018-12-31", "last bar 2018-12-30"),
        ("from 1999-01-04T00:00:00Z", "from 1999-01-05T00:00:00Z"),
        ("ratio 1/2", "ratio 1/3"),
        ("held 5 s", "held 6 s"),
        ("</td><td>1</td>", "</td><td>2</td>"),
    ],
)
def test_results_are_differences(tmp_path: Path, before: str, after: str) -> None:
    """A number, a date of the data and a word that changed are found, in the right cell."""
    found = differences(tmp_path, [stream(before)], [stream(after)])
    assert [(item.cell, item.what) for item in found] == [(1, "output")]


def test_how_a_stream_was_cut_into_pieces_is_no_difference(tmp_path: Path) -> None:
    """Kernels flush when they like; what counts is all that went to each stream."""
    before = [stream("one\ntwo\n"), stream("warn\n", "stderr")]
    after = [stream("one\n"), stream("warn\n", "stderr"), stream("two\n")]
    assert differences(tmp_path, before, after) == ()


def test_pictures_count_unless_there_is_a_tolerance(tmp_path: Path) -> None:
    """Another picture is a difference when comparing exactly; a tolerance speaks of numbers, not of pixels."""
    before, after = [result(text="<Figure>", png=PICTURE)], [result(text="<Figure>", png=PICTURE + "AA")]
    assert len(differences(tmp_path, before, after)) == 1
    assert differences(tmp_path, before, after, tolerance=1e-9) == ()


@pytest.mark.parametrize(("tolerance", "count"), [(None, 1), (1e-12, 1), (1e-6, 0)])
def test_a_tolerance_applies_to_numbers_in_text(tmp_path: Path, tolerance: float | None, count: int) -> None:
    """Numbers nearer than the tolerance are the same; words around them must not change."""
    before, after = [result(html="<b>1,234.5000000</b>")], [result(html="<b>1,234.5000001</b>")]
    assert len(differences(tmp_path, before, after, tolerance)) == count
    other = [result(html="<i>1,234.5000000</i>")]
    assert len(differences(tmp_path, before, other, tolerance)) == 1


def test_added_cells_and_changed_sources(tmp_path: Path) -> None:
    """A cell only one notebook has, and a cell with another source, are named as such; papermill's own do not count."""
    a = executed(tmp_path / "a.ipynb", RUN_A, 1, [])
    b = executed(tmp_path / "b.ipynb", RUN_B, 1, [], [])
    assert compare_notebooks(a, b, tolerance=None) == (CellDifference(1, "presence", "absent", "there"),)
    text = b.path.read_text().replace("cell 0", "cell zero")
    b.path.write_text(text)
    assert [item.what for item in compare_notebooks(a, b, tolerance=None)] == ["source", "presence"]


def test_a_missing_notebook_has_no_cells(tmp_path: Path) -> None:
    """An interactive run has no executed notebook; two of them have the same cells: none."""
    missing = Executed(tmp_path / "none.ipynb")
    assert compare_notebooks(missing, missing, tolerance=None) == ()
