"""The commands of docs/service.md, executed as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.conftest import REPOSITORY
from tests.site.site_runs import make_runs, varied

CURL = shutil.which("curl")
PAGE = (REPOSITORY / "docs/service.md").read_text(encoding="utf-8").replace("\\\n", "")
LINES = re.findall(r"^curl .*$", PAGE, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_every_line_of_curl_works(api: httpx.Client, served: Path) -> None:
    """In their order, against a service with a run; each is answered well."""
    make_runs(served / "results", [varied(1, bars=10)])
    assert len(LINES) > 5
    for line in LINES:
        command = line.replace("http://127.0.0.1:8080/", str(api.base_url)).replace("$TOKEN", "none")
        done = subprocess.run([*shlex.split(command), "--fail", "-sS"], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        assert done.stdout
