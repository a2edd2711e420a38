"""Studies in storages that machines share: PostgreSQL, and Optuna's gRPC proxy in front of a storage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from pipeline.errors import SpecError
from pipeline.settings import Settings
from pipeline.sweep.stored import Sweep
from tests.servers import free_port, postgres_server
from tests.sweep.sweeps import facts, search, spec, stop_after

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")]

PROXY = """
import sys, optuna
storage = optuna.storages.RDBStorage(sys.argv[1])
optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port=int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A database for studies in a PostgreSQL server of our own."""
    with postgres_server("studies") as server:
        yield f"{server}studies"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    """Optuna's gRPC proxy in front of an SQLite database."""
    pytest.importorskip("grpc")
    port = free_port()
    command = [sys.executable, "-c", PROXY, f"sqlite:///{tmp_path / 'behind.db'}", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    storage = optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=port)
    try:
        storage.wait_server_ready(timeout=60)
        yield f"grpc://127.0.0.1:{port}"
    finally:
        storage.close()
        server.terminate()
        server.wait()


def check_shared(project: Settings, url: str, storage: str | optuna.storages.BaseStorage) -> None:
    """A search stopped and resumed is kept once, the same as one kept in a journal of its own."""
    wanted = spec(sweep={"storage": url, "batch": 3, "name": "shared"})
    stop, hooks = stop_after(4)
    assert not search(project, wanted, stop=stop, hooks=hooks).finished
    outcome = search(project, wanted)
    assert outcome.resumed
    study = optuna.load_study(study_name="shared", storage=storage)
    assert [trial.user_attrs["run_id"] for trial in study.trials] == [trial.run_id for trial in outcome.trials]
    assert [trial.values for trial in study.trials] == [list(trial.values) for trial in outcome.trials]
    assert facts(outcome.trials) == facts(search(project, spec(sweep={"batch": 3})).trials)
    read = Sweep(outcome.run).study()
    assert read.best_value == study.best_value


@pytest.mark.postgres
def test_a_study_in_postgresql(project: Settings, postgres: str) -> None:
    """The study is in PostgreSQL under the sweep's name, each trial once, though the search was interrupted."""
    check_shared(project, postgres, postgres)


@pytest.mark.server
def test_a_study_behind_optunas_proxy(project: Settings, proxy: str) -> None:
    """Machines that cannot reach the database reach the proxy."""
    port = int(proxy.rpartition(":")[2])
    check_shared(project, proxy, optuna.storages.GrpcStorageProxy(host="127.0.0.1", port=port))


@pytest.mark.postgres
def test_sweeps_of_several_processes_share_postgresql(project: Settings, postgres: str) -> None:
    """Four sweeps at once, each in a process of its own: every study whole, no trial in another's."""
    script = project.root / "sweep_script.py"
    script.write_text(
        "import sys\n"
        "from pipeline.settings import Settings\n"
        "from tests.sweep.sweeps import search, spec\n"
        "search(Settings.load(), spec(sweep={'storage': sys.argv[1], 'name': sys.argv[2]}))\n"
    )
    names = [f"parallel {number}" for number in range(4)]
    root = str(Path(__file__).parents[2])
    started = [
        subprocess.Popen(
            [sys.executable, str(script), postgres, name], cwd=project.root, env={**os.environ, "PYTHONPATH": root}
        )
        for name in names
    ]
    assert [process.wait(timeout=240) for process in started] == [0] * 4
    for name in names:
        study = optuna.load_study(study_name=name, storage=postgres)
        assert len({trial.user_attrs["run_id"] for trial in study.trials}) == 8


def test_a_storage_that_is_not_there(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database and a proxy that nobody serves are mistakes that name the storage, without its password."""
    port = free_port()
    monkeypatch.setenv("STUDIES", f"postgresql+psycopg2://me:secret@127.0.0.1:{port}/studies")
    monkeypatch.setattr("pipeline.sweep.study.PROXY_SECONDS", 2)
    for url in ("env:STUDIES", f"grpc://127.0.0.1:{port}"):
        with pytest.raises(SpecError, match=rf"sweep\.storage: .*127\.0\.0\.1:{port}") as told:
            search(project, spec(sweep={"storage": url}))
        assert "secret" not in str(told.value)


def test_a_password_is_not_repeated(project: Settings) -> None:
    """A storage with its password in the spec is refused, and the message does not show it."""
    with pytest.raises(SpecError, match="env:NAME") as told:
        spec(sweep={"storage": "postgresql://me:secret@db.example/studies"})
    assert "secret" not in str(told.value)
    assert "me:***@db.example" in str(told.value)
