"""docs/design.md against the code: the layers, and what a process remembers."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SPAN = re.compile(r"`([^`\n]+)`")
NOT_KEPT = ("typer.Typer(", "logging.getLogger(")  # commands; Python's own registry
CHANGES = {"append", "add", "update", "pop", "clear", "setdefault", "extend", "remove", "discard", "insert", "popitem"}


def first_column(heading: str) -> list[str]:
    """Return what the first column of a section's table names, from top to bottom."""
    page = (REPOSITORY / "docs/design.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return [name for row in rows for name in SPAN.findall(row)]


def is_bound(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def bound(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the names that are bound at a module's level, with what they are bound to."""
    names = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                names |= {item.id: node.value for item in ast.walk(target) if is_bound(item)}
    return names


def variables(names: dict[str, ast.expr]) -> Iterator[str]:
    """Yield the names in small letters: constants are written in capitals."""
    for name, value in names.items():
        small = name.strip("_")[:1].islower() and not name.startswith("__")
        if small and not ast.unparse(value).startswith(NOT_KEPT):
            yield name


def changed(tree: ast.Module, names: dict[str, ast.expr]) -> Iterator[str]:
    """Yield the names of a module that its code changes, and the attributes that it gives to classes."""
    for node in ast.walk(tree):
        match node:
            case ast.Global():
                yield from node.names
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()) if name in names:
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if name in names and attr in CHANGES:
                yield name
            case ast.Attribute(value=ast.Name(id=name), attr=attr, ctx=ast.Store()):
                if name[0].isupper() and attr[0] != "_":
                    yield f"{name}.{attr}"


def test_the_picture_of_layers_is_the_one_that_lint_proves() -> None:
    """The modules are named in the order of the contract, the top one first."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    assert first_column("Layers") == " : ".join(layers).split(" : ")


@pytest.mark.slow
def test_what_a_process_remembers_is_listed() -> None:
    """Nothing is kept from one call to the next but what the page names."""
    found = set()
    for path in (REPOSITORY / "pipeline").rglob("*.py"):
        module = ".".join(path.relative_to(REPOSITORY / "pipeline").with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = bound(tree)
        found |= {f"{module}.{name}" for name in (*variables(names), *changed(tree, names))}
    assert found == set(first_column("What a process remembers"))
