"""Processes of their own: what a short one leaves behind arrives, and its end is not held up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.telemetry.collector import COLLECTORS, refusing, silent

SHORT = """
import pipeline.telemetry as telemetry
from pipeline.telemetry import exporting
for _ in range(3):
    with telemetry.step("short"):
        pass
# On a busy machine the library takes longer to load than an end waits.
telemetry.exporting().flush({seconds})
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", COLLECTORS)
def test_what_a_short_process_did_arrives(protocol: str) -> None:
    """Also when all that it did came just before its end."""
    with COLLECTORS[protocol]() as found:
        assert run(SHORT.format(seconds=60), **found.environment).stderr == ""
    assert [span.name for span in found.spans] == ["short"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("protocol", COLLECTORS)
@pytest.mark.parametrize("away", [refusing, silent])
def test_the_end_of_a_process_is_quiet(protocol: str, away: Callable[[], AbstractContextManager[str]]) -> None:
    """Whether the library was loaded before the interpreter began to end, or not."""
    with away() as address:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        for seconds in (0, 60):
            done = run(SHORT.format(seconds=seconds), **environment)
            assert (done.stdout, done.stderr) == ("", "")
