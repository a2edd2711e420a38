"""The tests run as root in many places, and root reads and writes whatever it likes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest


def without_privileges(code: str) -> str:
    """Execute Python without the right of root to read and write everything; return what it prints."""
    command = [sys.executable, "-c", code]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root reads everything, and setpriv, which takes that right away, is not installed")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
