"""A prune or a restore that is killed at any line is finished by the next one, and everything agrees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 24


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a machine that others use, too
@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
def test_killed_anywhere(tmp_path: Path) -> None:
    """Ledger, directories, archives, inputs, outbox, MLflow and site say the same after verify and the next command."""
    pytest.importorskip("mlflow")
    command = [sys.executable, "-m", "tests.retention.killed", str(tmp_path), str(KILLS), "17"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["killed"] >= 20
    assert all(name.endswith(": agrees") for name in told["outcomes"]), told
