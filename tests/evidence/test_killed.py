"""kill -9 at any step of sealing, signing, stating and appending leaves nothing that lies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# Not sealed yet; or sealed, and the ledger was not told: both say what they are, and neither is a damaged file.
HONEST = {
    "whole",
    "run: unsealed",
    "run: missing entry",
    "run: unsigned",
    "ledger: torn",
    "ledger: torn, run: unsealed",
}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks the processes it kills")
@pytest.mark.parametrize("stride", [41, pytest.param(1, marks=pytest.mark.slow)])
def test_kill_at_every_step(tmp_path: Path, stride: int) -> None:
    """Whatever line the process was killed at: nothing is named edited or added, and work goes on."""
    command = [sys.executable, "-m", "tests.evidence.killed", str(tmp_path), str(stride)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    print(f"\nkilled at {outcome['steps']} steps: {outcome['left behind']}")
    assert outcome["lines"] > 500
    assert outcome["left behind"].keys() <= HONEST
    assert {"whole", "run: unsealed", "run: missing entry"} <= outcome["left behind"].keys()
