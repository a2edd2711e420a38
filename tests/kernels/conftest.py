"""One fork server for the tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.kernels import ForkServer, fork_available
from tests.kernels.notebooks import PRELOAD, environment


@pytest.fixture(scope="session")
def kernels() -> Iterator[ForkServer]:
    """Return a fork server that has imported some libraries; skips where kernels cannot be forked."""
    if not fork_available():
        pytest.skip("kernels cannot be forked here")
    with environment(), ForkServer(PRELOAD) as server:
        server.wait_ready()
        yield server


@pytest.fixture(params=[pytest.param("ordinary", marks=pytest.mark.slow), "forked"])
def either(request: pytest.FixtureRequest) -> ForkServer | None:
    """Return where kernels come from: once None for ordinary ones, once the fork server."""
    return request.getfixturevalue("kernels") if request.param == "forked" else None
