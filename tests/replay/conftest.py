"""A small project under git, for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.replay.runs import small_project


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a project with a small notebook, a helper module and data, committed, as the current directory."""
    for name in ("EVIDENCE_ROOT", "EVIDENCE_RESULTS", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "small"
    root.mkdir()
    monkeypatch.chdir(root)
    return small_project(root)
