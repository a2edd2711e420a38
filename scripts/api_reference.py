"""Make docs/api.md from the public names of the package, their signatures and docstrings."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pydantic

import pipeline

SECTIONS = {
    "Make a run": ("start_run", "run_backtest", "read_spec", "run_sweep"),
    "Read runs": ("load_run", "list_runs", "compare"),
    "Do something with runs": (
        "verify", "render_report", "replay_run", "recompute", "explain", "make_bundle", "build_site",
    ),
    "What comes back": ("Run", "RunRecord", "RunOutcome", "NotebookRun", "RunSpec", "Settings", "EvidenceError"),
}  # fmt: skip

INTRO = """# The Python interface

{generated}

What `import pipeline` has. Names are imported when they are first used, so that the import stays cheap; each extra is
needed only by what uses it. Modules below may change from release to release, these names do not without notice
([compatibility](compatibility.md)). Every error is a `pipeline.EvidenceError`; its kinds are listed
[with the command line](cli.md#kinds-of-errors).
"""


def api_page(generated: str) -> str:
    """Return docs/api.md."""
    parts = [INTRO.format(generated=generated)]
    for title, names in SECTIONS.items():
        parts += [f"## {title}", *(_described(name, getattr(pipeline, name)) for name in names)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _described(name: str, found: Any) -> str:
    if not inspect.isclass(found):
        return f"### {name}\n\n```python\n{_signature(name, found)}\n```\n\n{inspect.getdoc(found)}"
    members = "\n".join(_members(found))
    return f"### {name}\n\n{inspect.getdoc(found)}" + (f"\n\n{members}" if members else "")


def _signature(name: str, function: Any) -> str:
    """Return a signature as its source has it, on one line where it fits."""
    node = ast.parse(inspect.getsource(function)).body[0]
    assert isinstance(node, ast.FunctionDef)
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{name}({ast.unparse(node.args)}){returned}"
    if len(line) <= 100:
        return line
    places, keywords = node.args.args, node.args.kwonlyargs
    defaults = [None] * (len(places) - len(node.args.defaults)) + node.args.defaults
    arguments = [*map(_parameter, places, defaults), *(["*"] if keywords else [])]
    arguments += map(_parameter, keywords, node.args.kw_defaults)
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), f"){returned}"])


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def _members(found: type) -> Iterator[str]:
    """Yield a line for each public field, property and method that a class has of its own or of a class of ours."""
    if dataclasses.is_dataclass(found):
        yield (
            "Fields: "
            + ", ".join(f"`{field.name}`" for field in dataclasses.fields(found) if field.name[0] != "_")
            + "."
        )
        yield ""
    if issubclass(found, pydantic.BaseModel):
        yield (
            "Fields: "
            + ", ".join(f"`{name}`" for name in found.model_fields)
            + "; [the run spec](run-spec.md) says what each holds."
        )
        yield ""
    for name, member in _own(found).items():
        if isinstance(member, property | cached_property):
            function = member.fget if isinstance(member, property) else member.func
            yield f"- `.{name}`: {_first(function)}"
        elif inspect.isfunction(inspect.unwrap(getattr(member, "__func__", member))):
            function = getattr(member, "__func__", member)
            yield f"- `.{name}({_short(function)})`: {_first(function)}"


def _own(found: type) -> dict[str, Any]:
    return {
        name: member
        for base in reversed(found.__mro__)
        if base.__module__.startswith("pipeline.")
        for name, member in vars(base).items()
        if not name.startswith("_") and name not in ("model_config",) and not inspect.isclass(member)
    }


def _short(function: Any) -> str:
    names = list(inspect.signature(function).parameters)
    return ", ".join(names[1:] if names[:1] in (["self"], ["cls"]) else names)


def _first(function: Any) -> str:
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    if not text:
        raise SystemExit(f"{function.__qualname__} is public and has no docstring.")
    return text
