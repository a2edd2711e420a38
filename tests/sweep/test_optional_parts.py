"""Without the extra `sweep` everything else works, and a sweep says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.settings import Settings

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {absent!r} else found(name, package)
{code}
"""


def without(absent: tuple[str, ...], code: str, project: Settings) -> subprocess.CompletedProcess[str]:
    """Run code in a process where some packages cannot be imported."""
    script = WITHOUT.format(absent=set(absent), code=code)
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_lists_reports_and_the_website_need_no_optuna(project: Settings) -> None:
    """Reading, rendering and publishing work with what `make demo` installs."""
    code = "import pipeline.sweep.report.bulk, pipeline.sweep.site_pages, pipeline.sweep.stored, pipeline.cli.app"
    done = without(("optuna", "pebble", "distributed", "scipy"), code, project)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("absent", "where", "message"),
    [
        ("optuna", "inline", "A sweep needs optuna"),
        ("pebble", "local", "A pool of processes needs pebble"),
        ("distributed", "dask://127.0.0.1:1", "Dask is not installed"),
    ],
)
def test_a_missing_package_is_named(project: Settings, absent: str, where: str, message: str) -> None:
    """The error says which package is missing and how to get it, before anything starts; exit code 2."""
    arguments = ["evidence", "sweep", "-c", "config/sweep.toml", "--executor", where]
    code = f"import sys\nsys.argv = {arguments!r}\nfrom pipeline.cli import main\nmain()"
    done = without((absent,), code, project)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "pip install 'evidence-chain[" in done.stderr
    assert not list(project.results.glob("*-*"))
