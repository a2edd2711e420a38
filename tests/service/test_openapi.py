"""The service against its own description: requests made from it, thousands of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import make_project
from tests.service.process import serving
from tests.site.site_runs import make_runs, varied

# What MLflow's and our own language of conditions refuse, and which of two parts a request may have, no schema can say.
NOT_IN_SCHEMAS = "positive_data_acceptance"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nothing_that_a_client_sends_breaks_the_service(tmp_path: Path, template_database: Path) -> None:
    """No 5xx, no answer but what the OpenAPI says, tokens asked for where it says so."""
    root = make_project(tmp_path / "project", template_database)
    make_runs(root / "results", [varied(number, bars=10) for number in range(3)])
    evidence, schemathesis = (str(Path(sys.executable).with_name(name)) for name in ("evidence", "schemathesis"))
    create = [evidence, "tokens", "create", "--name", "everything", "--scope", "admin"]
    token = subprocess.run(create, cwd=root, check=True, capture_output=True, text=True).stdout.strip()
    with serving(root, environ={"EVIDENCE_SERVICE_RATE": "0"}) as api:
        command = [schemathesis, "run", f"{api.base_url}openapi.json", "-H", f"Authorization: Bearer {token}"]
        assert api.get("/ready").status_code == 200  # MLflow is imported by now
        limits = [
            "--request-timeout",
            "60",
            "--max-examples",
            "3",
            "--seed",
            "1",
            "--phases",
            "examples,coverage,fuzzing",
        ]
        done = subprocess.run(
            [*command, *limits, "--exclude-checks", NOT_IN_SCHEMAS],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-20_000:]
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None
    assert int(cases[1]) > 1_000
    assert "Traceback" not in (root / "service.log").read_text()
