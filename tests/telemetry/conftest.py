"""Collectors, and a process that exports to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.telemetry.exporting import forget
from tests.telemetry.collector import COLLECTORS, Collected


@pytest.fixture(params=COLLECTORS)
def collector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Return what arrives at a collector that this process exports to."""
    with COLLECTORS[request.param]() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        forget()
        yield found
        forget()


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """Return what arrives at a collector over HTTP."""
    with COLLECTORS["http/protobuf"]() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        forget()
        yield found
        forget()
