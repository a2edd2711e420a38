"""Fixtures every test may use: a project of its own, in a directory of its own."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from pipeline.notebook.quick_import import import_nbformat
from pipeline.settings import Settings
from tests.browser import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from pipeline.kernels import ForkServer

settings.register_profile("fixed", derandomize=True, deadline=None)  # the same verdict for everybody, on any machine
settings.register_profile("explore", deadline=None)  # new examples each time: pytest --hypothesis-profile explore
settings.load_profile("fixed")

import_nbformat()  # before a test module does, which would wait for it

REPOSITORY = Path(__file__).resolve().parent.parent
QUARTO = {name: value for name, value in os.environ.items() if name == "QUARTO_PATH"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the reports of most tests be made by a real Quarto: `pytest tests/report --report-renderer quarto`."""
    parser.addoption("--report-renderer", default="embedded", choices=("embedded", "quarto"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show a Quarto of this machine only to the tests that are about it: what `auto` means is the same everywhere."""
    if item.get_closest_marker("quarto") or item.config.getoption("report_renderer") == "quarto":
        os.environ.pop("QUARTO_PATH", None)
        os.environ.update(QUARTO)
    else:
        os.environ["QUARTO_PATH"] = os.devnull


@pytest.fixture(scope="session", autouse=True)
def nobodys_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests from the signing key and the settings of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        for name in ("EVIDENCE_KEY", "EVIDENCE_KEY_FILE", "EVIDENCE_KEY_PASSPHRASE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def no_watch_goes_on() -> Iterator[None]:
    """End the watches over what is read that a test began, by a run by hand that it did not finish."""
    yield
    watch = sys.modules.get("pipeline.inputs.watch")
    while watch is not None and watch.watching():
        watch.stop()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a project with the shipped notebook, report source and demo spec, as the current directory."""
    root = tmp_path / "project"
    for folder in ("notebooks", "reports", "config"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    for name in ("EVIDENCE_ROOT", "EVIDENCE_RESULTS", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root)
    return Settings.load()


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer | None]:
    """Return a fork server that has imported what runs use, without what draws; None where kernels cannot be forked.

    A run that is given None has a fresh kernel.
    """
    from pipeline.kernels import fork_available
    from pipeline.notebook.forked import fork_server

    if not fork_available():
        yield None
        return
    libraries = ("numpy", "pandas", "pydantic", "rfc8785", "psutil", "importlib.metadata", "yaml")
    with fork_server(libraries, warm=("pipeline.notebook.warm:package",)) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="session")
def template_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with MLflow's schema; making one takes seconds, so all workers share it."""
    import mlflow

    from pipeline.file_lock import locked
    from pipeline.tracking.store import Store

    root = tmp_path_factory.getbasetemp()
    shared = root.parent if os.environ.get("PYTEST_XDIST_WORKER") else root
    database = shared / f"template-{mlflow.__version__}.db"
    with locked(shared / "template.lock"):
        if not database.exists():
            Store(f"sqlite:///{database}").connect()
            with sqlite3.connect(database) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
    return database


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Return an empty directory on a file system of one megabyte."""
    yield from small_file_system(tmp_path / "disk", "1m")


def small_file_system(disk: Path, size: str) -> Iterator[Path]:
    """Mount an empty file system of this size for a test; the test is skipped where mounting is not allowed."""
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return headless Chromium; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
