"""A notebook with a store that can go away and come back, each run in a process of its own."""

from __future__ import annotations

import os
import shutil
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
from test_run_tracking import seal
from tracking_checks import assert_mlflow_equals_journal

from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.tracking import RunTracking, TrackingWarning, kernel_tracker, pending, rebuild, sync_run
from pipeline.tracking.outbox import Home
from pipeline.tracking.store import Store

Opener = Callable[..., tuple[RunDir, RunTracking]]


class Scene:
    """A store in a directory of its own, which can go away and come back, and a run in a process of its own."""

    def __init__(self, template: Path, root: Path, open_run: Opener, settings: Settings) -> None:
        self.place, self.hidden = root / "store", root / "hidden"
        self.place.mkdir()
        self.uri = f"sqlite:///{self.place / 'mlflow.db'}"
        self.root, self.open_run, self.settings, self.template = root, open_run, settings, template
        shutil.copyfile(template, self.place / "mlflow.db")

    def hide(self) -> None:
        """Let the store die: its open connections break, new ones find nothing."""
        mlflow.tracking._tracking_service.utils._get_store(self.uri).engine.dispose()
        self.place.rename(self.hidden)

    def back(self) -> None:
        """Let the store come back."""
        if self.hidden.exists():
            shutil.rmtree(self.place, ignore_errors=True)
            self.hidden.rename(self.place)

    def run(self, notebook: Callable[[Scene], None], **section: Any) -> RunDir:
        """Run code as a notebook, with its own process around it; it fails when the notebook does."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self._work(notebook, section)
                code = 0
            except BaseException:  # noqa: BLE001 - told here, counted by the exit status
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        self.back()
        return RunDir(self.settings.results, next(self.settings.results.glob("*-*")).name)

    def _work(self, notebook: Callable[[Scene], None], section: dict[str, Any]) -> None:
        warnings.simplefilter("ignore")
        run, tracking = self.open_run(self.uri, **section)
        os.environ.update(tracking.environment())
        kernel_tracker(run)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TrackingWarning)
            notebook(self)
        told = [str(item.message) for item in caught if issubclass(item.category, TrackingWarning)]
        (self.root / "warnings.txt").write_text("\n".join(told))
        while mlflow.active_run():
            mlflow.end_run()
        tracking.deliver()
        tracking.finish("FINISHED", artifacts=seal(run))

    @property
    def told(self) -> list[str]:
        """What the notebook was warned of."""
        return (self.root / "warnings.txt").read_text().splitlines()

    def check(self, run: RunDir) -> None:
        """Sync, twice, then rebuild into an empty store: both hold exactly what the journal says."""
        for _ in range(2):
            assert sync_run(run, self.settings).error is None
            assert pending(run) == 0
            assert_mlflow_equals_journal(Home.of_run(run), Store(self.uri), self.root / "read")
        shutil.copyfile(self.template, self.root / "new.db")
        for _ in range(2):
            assert rebuild(self.settings, uri=f"sqlite:///{self.root / 'new.db'}")[0].error is None
            new = Store(f"sqlite:///{self.root / 'new.db'}")
            assert_mlflow_equals_journal(Home.of_run(run), new, self.root / "new")
