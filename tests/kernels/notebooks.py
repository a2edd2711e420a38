"""Execute small notebooks with papermill, in an ordinary kernel or in a forked one, and compare what they became."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbformat import v4

from pipeline.kernels import ForkServer, KernelProcess, Launch, fork_available

NEEDS_FORK = pytest.mark.skipif(not fork_available(), reason="kernels cannot be forked here")

IDENTIFIER = "[0-9a-f]{32}"
PRELOAD = ("numpy", "pandas", "matplotlib.pyplot", "plotly.graph_objects", "tqdm.auto", "ipywidgets")


@contextlib.contextmanager
def environment(**changed: str | None) -> Iterator[None]:
    """Have these variables in the environment for a while; ipykernel captures less output when it sees pytest's."""
    changed = {"PYTEST_CURRENT_TEST": None, **changed}
    before = {name: os.environ.get(name) for name in changed}
    try:
        _set(changed)
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def notebook(*cells: str, tags: dict[int, list[str]] | None = None, parameters: str | None = None) -> Any:
    """Return a notebook of these code cells; `tags` are those of a cell by its position."""
    made = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}})
    if parameters is not None:
        made.cells.append(v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for position, cell in enumerate(cells):
        made.cells.append(v4.new_code_cell(cell, metadata={"tags": (tags or {}).get(position, [])}))
    for position, cell in enumerate(made.cells):
        cell["id"] = f"cell-{position}"
    return made


class Dying:
    """A fork server whose kernels are killed as soon as they are started."""

    def __init__(self, server: ForkServer) -> None:
        self.server = server

    def start(self, launch: Launch, *, stdout: int, stderr: int, wire: int | None = None) -> KernelProcess:
        """Start a kernel, and wait until it is dead."""
        process = self.server.start(launch, stdout=stdout, stderr=stderr, wire=wire)
        process.signal(signal.SIGKILL)
        process.wait(60)
        return process


def execute(source: Any, directory: Path, kernels: ForkServer | Dying | None, **options: Any) -> Any:
    """Execute a notebook in `directory` and return the executed one; without `kernels` in an ordinary kernel."""
    directory.mkdir(exist_ok=True)
    path, output = directory / "in.ipynb", directory / "out.ipynb"
    nbformat.write(source, path)
    engine = {} if kernels is None else {"engine_name": "forked", "kernels": kernels}
    working = {"cwd": str(directory), "progress_bar": False, "kernel_name": "python3"}
    with environment() if threading.current_thread() is threading.main_thread() else contextlib.nullcontext():
        papermill.execute_notebook(str(path), str(output), **{**working, **engine, **options})
    return read(directory)


def execute_in_thread(*arguments: Any, **options: Any) -> Any:
    """Execute a notebook in a thread, and close the event loop that jupyter_core made for it."""
    from jupyter_core.utils import ensure_event_loop

    try:
        return execute(*arguments, **options)
    finally:
        ensure_event_loop().close()


def read(directory: Path) -> Any:
    """Return the notebook that was executed last in `directory`, without the cells papermill adds to a failed one."""
    executed = nbformat.read(directory / "out.ipynb", as_version=4)
    added = "papermill-error-cell-tag"
    executed.cells = [cell for cell in executed.cells if added not in cell.metadata.get("tags", [])]
    return executed


def outputs(executed: Any) -> list[list[dict[str, Any]]]:
    """Return the outputs of each cell."""
    return [[dict(output) for output in cell.get("outputs", [])] for cell in executed.cells]


def texts(executed: Any) -> list[str]:
    """Return what each cell printed to stdout: joined, for where the stream is cut depends on time."""
    printed = [
        [o["text"] for o in cell if o["output_type"] == "stream" and o["name"] == "stdout"]
        for cell in outputs(executed)
    ]
    return ["".join(parts) for parts in printed]


def text(executed: Any) -> str:
    """Return what all cells printed to stdout."""
    return "".join(texts(executed))


def comparable(executed: Any) -> dict[str, Any]:
    """Return a notebook without what differs between any two executions: times, process ids, random ids."""
    executed = nbformat.from_dict(executed)
    executed.metadata.pop("papermill", None)
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected"
        if "outputs" in cell:
            cell.outputs = _joined(cell.outputs)
    if "widgets" in executed.metadata:
        models = executed.metadata.pop("widgets")["application/vnd.jupyter.widget-state+json"]["state"].values()
        found = (re.sub(IDENTIFIER, "ID", json.dumps(model, sort_keys=True)) for model in models)
        executed.metadata["widgets"] = sorted(found)
    content = nbformat.writes(executed)
    content = re.sub(r"ipykernel_\d+", "ipykernel_PID", content)
    return dict(nbformat.reads(re.sub(IDENTIFIER, "ID", content), as_version=4))


def _joined(cell_outputs: list[Any]) -> list[Any]:
    """Join the parts of a stream that follow each other: where it is cut depends on time."""
    joined: list[Any] = []
    for output in cell_outputs:
        last = joined[-1] if joined else None
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined
