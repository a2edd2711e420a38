"""What forked kernels use of the private parts of other packages: listed, looked for, and tried out (`internals`)."""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pipeline.kernels
from pipeline.kernels import ForkServer
from pipeline.kernels.internals import PARTS, Part, check_parts, lacking
from tests.kernels.notebooks import NEEDS_FORK, environment, execute, notebook, text

PACKAGE = Path(pipeline.kernels.__file__).parent
DOCUMENTED = {"_exit"}  # of os


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def modules() -> Iterator[ModuleType]:
    for path in sorted(PACKAGE.glob("*.py")):
        if path.stem != "__main__":
            yield importlib.import_module(f"pipeline.kernels.{path.stem}".removesuffix(".__init__"))


def used_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that code looks up on anything."""
    yield from (node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr))


def own_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that code defines, or gives to an object of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def overridden(module: ModuleType, tree: ast.Module) -> Iterator[str]:
    """Yield the private names of a module's classes that their bases in other packages have, or give to instances."""
    for node in (item for item in tree.body if isinstance(item, ast.ClassDef)):
        given: set[str] = set()
        for base in getattr(module, node.name).__mro__[1:-1]:
            for name, item in () if base.__module__.startswith("pipeline.") else vars(base).items():
                given |= {name, *getattr(getattr(item, "__code__", None), "co_names", ())}
        yield from {name for name in own_names(node) if is_private(name)} & given


def test_every_private_part_that_is_used_is_named() -> None:
    """The list is complete, and has nothing that is used no more."""
    trees = {module: ast.parse(inspect.getsource(module)) for module in modules()}
    own = {name for tree in trees.values() for name in own_names(tree)}
    used = {name for tree in trees.values() for name in used_names(tree)} - own
    taken = used | {name for module, tree in trees.items() for name in overridden(module, tree)}
    assert taken - DOCUMENTED == {part.name for part in PARTS if is_private(part.name)}


def test_what_is_listed_is_there() -> None:
    """The releases that are installed have all of it, and each is of use."""
    check_parts()
    assert all(part.use for part in PARTS)


@pytest.mark.parametrize("late", [True, False])
def test_what_is_not_there_is_named(late: bool) -> None:
    """The message says which part it is and of what, and which releases are installed."""
    gone = Part("ipykernel.iostream:OutStream", "_gone", "read", late=late)
    with pytest.raises(RuntimeError, match=r"ipykernel [\d.]+.*: ipykernel\.iostream\.OutStream\._gone\."):
        check_parts([*PARTS, gone])
    assert list(lacking([Part("sys", "_gone", "called"), Part("sys", "_gone", "called", needed=False)])) == [
        Part("sys", "_gone", "called")
    ]


CHANGES = {
    "OutStream._flush": "del __import__('ipykernel.iostream').iostream.OutStream._flush",
    "do not answer": """
from ipykernel.kernelbase import Kernel
async def silent(self, stream, ident, parent):
    pass
Kernel.execute_request = silent""",
}


@pytest.mark.slow
@NEEDS_FORK
@pytest.mark.parametrize("said", CHANGES)
def test_with_another_ipykernel_ordinary_kernels_are_used(
    said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that lacks a part, or answers in another way, costs time and a warning, not the notebook."""
    (tmp_path / "changed").mkdir()
    change = f"import sys\nif 'pipeline.kernels.server' in sys.orig_argv:\n    exec({CHANGES[said]!r})\n"
    (tmp_path / "changed" / "sitecustomize.py").write_text(change)
    with environment(), caplog.at_level(logging.WARNING, logger="papermill"):
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "changed"))
        with ForkServer(()) as server:
            done = execute(notebook("print('ran')"), tmp_path, server)
    assert text(done) == "ran\n"
    assert "An ordinary kernel is used. The fork server could not start" in caplog.text
    assert said in caplog.text
