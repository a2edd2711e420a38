"""What every tracker promises: one class of tests, run by each of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipeline.rundir import RunDir, new_run_id
from pipeline.tracking import JournalTracker, MLflowTracker, NoopTracker, NullTracker, Tracker, TrackingWarning
from pipeline.tracking.outbox import Home


class TrackerContract:
    """Subclasses give a `tracker` that has not been started."""

    records = True
    has_id = True

    @pytest.fixture
    def quiet(self) -> Iterator[None]:
        """Warnings are allowed: this test is about not raising."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrackingWarning)
            yield

    def test_it_is_a_tracker(self, tracker: Tracker) -> None:
        """The protocol holds."""
        assert isinstance(tracker, Tracker)

    def test_the_run_id_is_there_from_the_start_and_stays(self, tracker: Tracker) -> None:
        """None before the first start; the same after a second start and after the end."""
        assert tracker.run_id is tracker.get_run_id() is None
        assert tracker._run_id is None
        assert tracker._run_started is False
        first = tracker.start_run("name")
        assert tracker._run_started is True
        assert tracker.start_run("other") == first == tracker.run_id == tracker._run_id
        tracker.end_run()
        assert tracker._run_started is False
        assert tracker.run_id == tracker.get_run_id() == tracker._run_id == first
        assert (first is not None) is self.has_id

    def test_ending_twice_or_without_a_start_is_nothing(self, tracker: Tracker) -> None:
        """end_run only ends an active run."""
        tracker.end_run()
        tracker.start_run()
        tracker.end_run("FAILED")
        tracker.end_run()

    def test_the_context_manager_starts_and_ends(self, tracker: Tracker) -> None:
        """Enter starts, exit ends."""
        with tracker as entered:
            assert entered is tracker
            assert tracker._run_started is True
        assert tracker._run_started is False

    def test_exceptions_pass_through(self, tracker: Tracker) -> None:
        """The context manager ends the run and does not swallow."""
        with pytest.raises(ZeroDivisionError), tracker:
            _ = 1 / 0
        assert tracker._run_started is False

    def test_everything_can_be_logged(self, tracker: Tracker, tmp_path: Path) -> None:
        """All calls, with ordinary values, without a warning."""
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "a.txt").write_text("a")
        figure = Figure()
        figure.subplots().plot([1, 2])
        with tracker:
            tracker.log_params({"fast": 10, "nested": {"x": [1, 2], "none": None}})
            tracker.log_params({"fast": 10})
            tracker.log_metrics({"sharpe": 1.5, "trades": 3})
            tracker.log_metrics({"loss": 0.5}, step=1)
            tracker.log_metrics({"loss": 0.4}, step=2)
            tracker.set_tags({"symbol": "SPX"})
            tracker.log_artifact(tmp_path / "files" / "a.txt", "here")
            tracker.log_artifacts(str(tmp_path / "files"))
            tracker.log_figure(figure, "plots/a.png")
            tracker.log_text("text", "b.txt")
            tracker.log_dict({"a": math.nan}, "c.json")
            tracker.log_table({"a": [1, 2], "b": ["x", "y"]}, "d.json")

    def test_nothing_that_is_given_raises(self, tracker: Tracker, quiet: None) -> None:
        """Missing files, odd values and odd names cost a warning, never the run."""
        with tracker:
            tracker.log_params({"a": object(), "b\n%": {1: {2: 3}}, "": 1, "x" * 500: 2, "long": "v" * 9000})
            tracker.log_params(None)
            tracker.log_metrics({"nan": math.nan, "inf": math.inf, "b": True, "s": "x", "ok%": 1, "n": None})
            tracker.log_metrics([1])
            tracker.set_tags({"t": "v" * 9000, "u": {"x": 1}})
            tracker.set_tags(3)
            tracker.log_artifact("/nowhere/at-all.txt")
            tracker.log_artifacts("/nowhere")
            tracker.log_figure(object(), "f.png")
            tracker.log_text(None, "../../up.txt")
            tracker.log_dict({"x": object()}, "/abs/olute.json")
            tracker.log_table(7, "t.json")
            tracker.log_backtest(None)

    def test_without_a_run_nothing_is_recorded(self, tracker: Tracker) -> None:
        """A call outside of a run is ignored with a warning and starts none."""
        calls = (
            lambda: tracker.log_params({"a": 1}),
            lambda: tracker.log_metrics({"a": 1}),
            lambda: tracker.set_tags({"a": 1}),
            lambda: tracker.log_text("a", "a.txt"),
            lambda: tracker.log_dict({}, "a.json"),
            lambda: tracker.log_table({"a": [1]}, "a.json"),
            lambda: tracker.log_figure(Figure(), "a.png"),
            lambda: tracker.log_artifact("a.txt"),
            lambda: tracker.log_artifacts("."),
        )
        for call in calls:
            if self.records:
                with pytest.warns(TrackingWarning, match="no run is active"):
                    call()
            else:
                call()
        assert tracker.run_id is None


class TestNoopTracker(TrackerContract):
    records = has_id = False

    @pytest.fixture
    def tracker(self) -> Tracker:
        return NoopTracker()

    def test_null_tracker_is_the_same(self) -> None:
        """Existing code says NullTracker."""
        assert NullTracker is NoopTracker


class TestMLflowTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, sqlite_uri: str) -> Tracker:
        return MLflowTracker(sqlite_uri, "contract")


class TestMLflowTrackerWithoutStore(TrackerContract):
    """The store is away from the start: the contract holds all the same, through the outbox."""

    has_id = False

    @pytest.fixture
    def tracker(self) -> Tracker:
        return MLflowTracker("http://127.0.0.1:9", "contract")

    @pytest.fixture(autouse=True)
    def _expected(self) -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The tracking store", TrackingWarning)
            yield


class TestJournalTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, tmp_path: Path) -> Tracker:
        return JournalTracker(Home.of_run(RunDir.create(tmp_path / "results", new_run_id())))
