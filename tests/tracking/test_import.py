"""The package imports cheaply, and without MLflow."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys, warnings
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "mlflow" or name.startswith("mlflow."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import tempfile
from pathlib import Path
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from pipeline.tracking import *
from pipeline.errors import TrackingNotInstalledError, TrackingError
for make in (MLflowTracker, lambda: build_tracker_from_config({"backend": "mlflow"})):
    try:
        make()
        raise SystemExit("no error")
    except RuntimeError as error:
        assert isinstance(error, TrackingNotInstalledError)
        assert "pip install 'evidence-chain[tracking]'" in str(error)
assert isinstance(build_tracker_from_config({"backend": "noop"}), NoopTracker)
root = Path(tempfile.mkdtemp())
settings = Settings(root, root / "results")
spec = RunSpec()
run = RunDir.create(settings.results, new_run_id())
tracking = open_tracking(spec.tracking, run=run, spec=spec, settings=settings)
assert "evidence-chain[tracking]" in tracking.warnings[0], tracking.warnings
kernel_tracker(run).log_metrics({"x": 1})
tracking.finish("FINISHED")
assert tracking.pending == pending(run) >= 3
try:
    strict = spec.tracking.model_copy(update={"mode": "strict"})
    open_tracking(strict, run=RunDir.create(settings.results, new_run_id()), spec=spec, settings=settings)
    raise SystemExit("no error")
except TrackingNotInstalledError:
    pass
"""


def test_without_mlflow_runs_go_on() -> None:
    """Constructing MLflowTracker says what to install; an orchestrated run keeps its journal for later."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


LIGHT = """
import sys
import pipeline.tracking
heavy = {"mlflow", "pandas", "numpy", "matplotlib", "plotly", "sqlalchemy", "requests", "papermill"} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_import_is_light() -> None:
    """No MLflow, pandas or figures at import (`benchmarks/startup.py` measures how long it takes)."""
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


ELSEWHERE = """
import sys
from pipeline.kernels.preload import _reads_of_the_environment
with _reads_of_the_environment() as read:
    import mlflow
assert "pipeline.child_process" in sys.modules
assert not [name for name in sys.modules if name.startswith("pipeline.tracking")]
assert "EVIDENCE_TRACKING_JOURNAL" not in read, "a fork server would refuse the kernel of every run"
"""


@pytest.mark.slow
def test_mlflow_elsewhere_is_left_alone() -> None:
    """A process that no notebook started imports MLflow as it would without this package, and so does a fork server."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
