"""Execute the cells of a `.qmd` and write one resolved Markdown file that either renderer turns into HTML."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RenderError
from pipeline.escape import clean, html_lines, html_text, raw_block
from pipeline.report.outline import without_empty
from pipeline.report.qmd import Cell, Source, html_options, read_qmd
from pipeline.report.section_files import with_sections
from pipeline.report.writer import Figures

RESOLVED = "report.md"
ASSETS = Path(__file__).parent / "assets"
SCRIPTS = "scripts.html"
# What only matters to an engine that executes cells; the resolved document has none left.
EXECUTION_KEYS = ("jupyter", "engine", "execute", "params", "knitr")
FILE_KEYS = ("template", "css", "include-in-header", "include-before-body", "include-after-body")


class Printed(io.StringIO):
    """What a cell prints to; it knows how a figure is to be printed."""

    def __init__(self, figures: Figures) -> None:
        super().__init__()
        self.figures = figures


def resolve(
    template: Path,
    scratch: Path,
    *,
    parameters: Mapping[str, Any],
    title: str,
    sections: Mapping[str, Path] | None = None,
    outputs: Callable[[str], str] | None = None,
    figures: Figures = Figures.BOTH,
    whole: bool = False,
) -> Path:
    """Execute `template` and write `report.md`, with the files it needs beside it, into `scratch`.

    `parameters` replace the values set in the cell tagged `parameters`, which must set all of them. `title` becomes
    the title of the browser's window. `sections` are files by the id of the section they replace; `outputs` is called
    on what each cell prints; `figures` say how `figure_block` prints a figure. Sections whose cells print nothing are
    left out, unless the `whole` document is wanted. Raises RenderError naming the cell and line of what went wrong.
    """
    source = with_sections(read_qmd(template), sections or {})
    parts = _execute(source, parameters, outputs or str, figures)
    body = "\n".join(text for text, _ in parts) if whole else without_empty(parts)
    front = _front_matter(source, scratch, title)
    path = scratch / RESOLVED
    path.write_text(f"---\n{front}---\n\n{body}\n", encoding="utf-8", newline="\n")
    return path


def _execute(
    source: Source, parameters: Mapping[str, Any], outputs: Callable[[str], str], figures: Figures
) -> list[tuple[str, bool | None]]:
    """Return prose and what each cell printed, as `without_empty` takes them; all cells share one namespace."""
    namespace: dict[str, Any] = {"__name__": "__report__"}
    echo = bool((source.front.get("execute") or {}).get("echo", False))
    injected = not parameters
    out: list[tuple[str, bool | None]] = []
    for part in source.parts:
        if isinstance(part, str):
            out.append((part, None))
            continue
        printed = _run_cell(source, part, namespace, Printed(figures), echo=echo)
        shows = part.options.get("output") == "asis"
        out.append((outputs(printed), bool(printed.strip()) if shows else None))
        if "parameters" in part.tags:
            _inject(source, part, namespace, parameters)
            injected = True
    if not injected:
        raise RenderError(
            f"{source.path} has no cell tagged `parameters`. Add one with `#| tags: [parameters]` that sets "
            f"{', '.join(parameters)}."
        )
    return out


def _inject(source: Source, cell: Cell, namespace: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    missing = [name for name in parameters if name not in namespace]
    if missing:
        raise RenderError(f"{_place(source, cell)}: the parameters cell does not set {', '.join(missing)}. Add it.")
    namespace.update(parameters)


def _run_cell(source: Source, cell: Cell, namespace: dict[str, Any], printed: Printed, *, echo: bool) -> str:
    if cell.options.get("eval") is False:
        return ""
    try:
        statements, last = _compile(source, cell)
        with contextlib.redirect_stdout(printed):
            exec(statements, namespace)  # noqa: S102 - executing the cells of the template is the purpose
            value = eval(last, namespace) if last is not None else None  # noqa: S307
    except (Exception, SystemExit) as error:
        raise _cell_error(source, cell, error) from error
    if cell.options.get("include") is False:
        return ""
    code = _fenced(cell.code, "python") if cell.options.get("echo", echo) else ""
    return code + _output(cell, printed.getvalue(), value)


def _compile(source: Source, cell: Cell) -> tuple[Any, Any]:
    """Return the code of all statements and of a last one that is an expression, with the lines of the file."""
    name = _name(source, cell)
    padded = "\n" * (cell.line - 1) + cell.code + "\n"
    linecache.cache[name] = (len(padded), None, padded.splitlines(keepends=True), name)
    tree = ast.parse(padded, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    if last is None:
        return compile(tree, name, "exec"), None
    return compile(tree, name, "exec"), compile(ast.Expression(last.value), name, "eval")  # type: ignore[attr-defined]


def _output(cell: Cell, printed: str, value: Any) -> str:
    mode = cell.options.get("output", True)
    if mode is False:
        return ""
    text = printed if mode == "asis" else _fenced(printed, "text") if printed.strip() else ""
    return text + (_displayed(value) if value is not None else "")


def _displayed(value: Any) -> str:
    """Return the value of a cell's last expression the way a notebook shows it: Markdown, else HTML, else text."""
    for name, wrap in (("_repr_markdown_", str), ("_repr_html_", raw_block)):
        shown = getattr(value, name, None)
        text = shown() if callable(shown) else None
        if text:
            return f"\n{wrap(text)}\n"
    return _fenced(repr(value), "text")


def _fenced(text: str, kind: str) -> str:
    return raw_block(f'<pre class="{kind}"><code>{html_lines(text.rstrip())}</code></pre>')


def _cell_error(source: Source, cell: Cell, error: BaseException) -> RenderError:
    """Say which cell and which line of the template raised, and what."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == _name(source, cell):
            line = frame.lineno
    where = _place(source, cell) if line is None else f"{cell.path or source.path}, line {line} (cell {cell.number})"
    return RenderError(f"{where}: {type(error).__name__}: {clean(error)}")


def _place(source: Source, cell: Cell) -> str:
    return f"{cell.path or source.path}, line {cell.line} (cell {cell.number})"


def _name(source: Source, cell: Cell) -> str:
    """Return what stands for the file of a cell's code in a traceback."""
    return f"{(cell.path or source.path).name} (cell {cell.number})"


def _front_matter(source: Source, scratch: Path, title: str) -> str:
    import yaml

    front = {key: value for key, value in source.front.items() if key not in EXECUTION_KEYS}
    front["pagetitle"] = f"`{html_text(title)}`{{=html}}"  # Quarto would follow shortcodes in a title of Markdown
    html = dict(html_options(front))
    for key in FILE_KEYS:
        if key in html:
            html[key] = _with_files(source, scratch, html[key])
    html["embed-resources"] = True
    front["format"] = {"html": {key: value for key, value in html.items() if value not in (None, [])}}
    text: str = yaml.safe_dump(front, sort_keys=True, allow_unicode=True, width=10_000)
    return text


def _with_files(source: Source, scratch: Path, given: Any) -> Any:
    """Copy the files an option names beside the resolved document and return their new names."""
    if isinstance(given, list):
        return [name for name in (_with_files(source, scratch, item) for item in given) if name]
    if not isinstance(given, str):
        return given
    path = _find(source, given)
    if path == ASSETS / SCRIPTS:  # scripts are put in after rendering
        return None
    shutil.copyfile(path, scratch / path.name)
    return path.name


def _find(source: Source, given: str) -> Path:
    """Return the asset of this package that a template names, from whichever checkout, else a file relative to it."""
    beside = (source.path.parent / given).resolve()
    packaged = ASSETS / Path(given).name
    ours = beside.parts[-4:-1] == ASSETS.parts[-3:]
    for path in (packaged, beside) if ours else (beside, packaged):
        if path.is_file():
            return path
    raise RenderError(f"{source.path} names the file {given}, which is not there.")
