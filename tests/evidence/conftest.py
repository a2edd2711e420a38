"""Fixtures of the evidence tests: a results directory with signed runs and a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import World, new_signer


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "results", new_signer())


@pytest.fixture
def signed(world: World) -> RunDir:
    """Return one signed run with a report, in a ledger."""
    return world.run()
