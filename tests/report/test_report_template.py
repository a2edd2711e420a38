"""The `.qmd`: reading it, executing its cells, and the errors that name cell and line."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_builder import TEMPLATE

from pipeline.errors import RenderError
from pipeline.report.outline import without_empty
from pipeline.report.page import build_page
from pipeline.report.pandoc import PandocRenderer
from pipeline.report.qmd import Source, read_qmd
from pipeline.report.resolve import ASSETS, SCRIPTS, resolve
from pipeline.report.selfcontained import check_self_contained
from pipeline.run import Run

PARAMETERS = "```{python}\n#| tags: [parameters]\nrun_id = 'last'\n```\n"


def resolved(directory: Path, text: str, **parameters: Any) -> str:
    """Resolve a template given as text and return the Markdown."""
    template = directory / "t.qmd"
    template.write_text(text, encoding="utf-8")
    scratch = directory / "scratch"
    scratch.mkdir()
    return resolve(template, scratch, parameters=parameters, title="A title").read_text(encoding="utf-8")


def cell(code: str, options: str = "#| output: asis\n") -> str:
    return f"```{{python}}\n{options}{code}\n```\n"


def test_cells_share_a_namespace_and_print_markdown(tmp_path: Path) -> None:
    """A cell sees what earlier ones set; what an `asis` cell prints is Markdown; prose stays as it is."""
    text = "# Prose $x$\n" + PARAMETERS + cell("y = run_id + '!'", "") + cell("print('**' + y + '**')")
    out = resolved(tmp_path, text, run_id="given")
    assert "**given!**" in out
    assert "# Prose $x$" in out
    assert "{python}" not in out


def test_output_that_is_not_asis_is_shown_as_text(tmp_path: Path) -> None:
    """Plain output is text, so nothing in it is markup; a last expression is shown as in a notebook."""
    shown = "class T:\n    def _repr_html_(self):\n        return '<b>bold</b>'\nT()"
    out = resolved(tmp_path, cell("print('<i>*x*</i>')", "") + cell(shown, "") + cell("print(1)", "#| output: false\n"))
    assert "&lt;i&gt;*x*&lt;/i&gt;" in out
    assert "<b>bold</b>" in out
    assert "<code>1</code>" not in out


def test_a_cell_that_raises_names_cell_and_line(tmp_path: Path) -> None:
    """The error of a template's author says which line of the file raised."""
    text = "---\ntitle: x\n---\n\nProse\n\n" + cell("ok = 1") + "\n" + cell("x = 1\n\nraise ValueError('no')")
    with pytest.raises(RenderError, match=r"t\.qmd, line 16 \(cell 2\): ValueError: no"):
        resolved(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (cell("import sys\nsys.exit(3)"), r"t\.qmd, line 4 \(cell 1\): SystemExit: 3"),
        (cell("a = (", ""), r"t\.qmd, line 2 \(cell 1\): SyntaxError"),
        (cell("1", "#| fig-cap: x\n"), "cell 1 has the option 'fig-cap'"),
        (cell("1", "#| outputt: x\n"), "Did you mean 'output'"),
        (cell("1", "#| a: [\n"), "options of cell 1 are not valid YAML"),
        ("```{r}\n1\n```\n", "line 1: only python cells"),
        ("```{python}\n1\n", "line 1: the code block that starts here is never closed"),
        ("a `{python} x` b\n", "line 1: inline code is not executed"),
        ("---\na: [\n---\n", "front matter is not valid YAML"),
        ("---\na: 1\n", "no closing"),
        ("---\nformat:\n  html:\n    css: nowhere.css\n---\n", "names the file nowhere.css"),
    ],
)
def test_bad_templates(tmp_path: Path, text: str, message: str) -> None:
    """Whatever the resolver cannot do the way Quarto does is refused with file and line, never left out."""
    with pytest.raises(RenderError, match=message):
        resolved(tmp_path, text)


def test_parameters_must_be_declared(tmp_path: Path) -> None:
    """A parameter the template does not set is refused before it is lost."""
    with pytest.raises(RenderError, match="no cell tagged `parameters`"):
        resolved(tmp_path, "prose\n", run_id="x")
    (tmp_path / "scratch").rmdir()
    with pytest.raises(RenderError, match="does not set page"):
        resolved(tmp_path, PARAMETERS, run_id="x", page=None)


def test_code_in_other_fences_is_not_executed(tmp_path: Path) -> None:
    """A longer fence shows a cell without executing it."""
    out = resolved(tmp_path, "````markdown\n```{python}\nraise SystemExit\n```\n````\n")
    assert "raise SystemExit" in out


def test_front_matter_is_rewritten(tmp_path: Path) -> None:
    """The resolved document has no engine to start, its files beside it, and the run in the window's title."""
    (tmp_path / "mine.css").write_text("p {}")
    text = (
        "---\njupyter: python3\nexecute:\n  echo: false\nformat:\n  html:\n    css: mine.css\n    toc: true\n---\nx\n"
    )
    front = yaml.safe_load(resolved(tmp_path, text).split("---\n")[1])
    html = {"css": "mine.css", "embed-resources": True, "toc": True}
    assert front == {"format": {"html": html}, "pagetitle": "`A title`{=html}"}
    assert (tmp_path / "scratch" / "mine.css").read_text() == "p {}"


def test_assets_are_those_of_the_running_package(tmp_path: Path) -> None:
    """A project with a package of its own beside the template gets what belongs to the code that makes the page."""
    others = tmp_path / "pipeline" / "report" / "assets"
    others.mkdir(parents=True)
    (others / "report.css").write_text("p { color: red }")
    text = "---\nformat:\n  html:\n    css: pipeline/report/assets/report.css\n---\nx\n"
    resolved(tmp_path, text)
    assert (tmp_path / "scratch" / "report.css").read_bytes() == (ASSETS / "report.css").read_bytes()


def test_the_shipped_template_works_in_plain_quarto_s_way(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With only `run_id` as parameter, as `quarto render -P run_id:…` gives it, the cells find the run themselves."""
    monkeypatch.setenv("EVIDENCE_RESULTS", str(finished.dir.results))
    monkeypatch.chdir(TEMPLATE.parent)
    path = resolve(TEMPLATE, tmp_path, parameters={"run_id": finished.run_id}, title="x")
    text = path.read_text(encoding="utf-8")
    assert finished.run_id in text
    assert "data:image/png;base64," in text
    assert not (tmp_path / "images").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_cells_in_a_kernel_make_the_same_page(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain Quarto executes the cells in a Jupyter kernel and takes files relative to the `.qmd`: the same page.

    Quarto itself is stood in for by nbclient and pandoc, which are what it uses; the real one is tested elsewhere. What
    it does not do is to leave out headings of sections that show nothing, which is done here for it.
    """
    monkeypatch.setenv("EVIDENCE_RESULTS", str(finished.dir.results))
    source = read_qmd(TEMPLATE)
    body = executed_by_a_kernel(source, f"run_id = {finished.run_id!r}")
    (tmp_path / "direct").mkdir()
    monkeypatch.chdir(TEMPLATE.parent)
    path = resolve(TEMPLATE, tmp_path / "direct", parameters={"run_id": finished.run_id}, title="x")
    assert body.split() == path.read_text(encoding="utf-8").split("\n---\n", 1)[1].split()

    html = source.front["format"]["html"]
    (tmp_path / "plain.md").write_text("---\npagetitle: x\n---\n\n" + body)
    options = ["--template", html["template"], "--css", html["css"], "--include-in-header", html["include-in-header"]]
    command = [PandocRenderer()._binary(), "--standalone", "--embed-resources", "--to", "html5", *options]
    made = subprocess.run([*command, str(tmp_path / "plain.md")], capture_output=True, check=True, cwd=TEMPLATE.parent)
    page = made.stdout.decode()
    check_self_contained(page)
    assert page.count("plotly.js (basic - minified)") == 1
    assert "evidence-chain-theme" in page


def executed_by_a_kernel(source: Source, injected: str) -> str:
    import nbformat.v4 as nb
    from nbclient import NotebookClient

    codes = [cell.code for cell in source.cells]
    notebook = nb.new_notebook(cells=[nb.new_code_cell(code) for code in [codes[0], injected, *codes[1:]]])
    NotebookClient(notebook, resources={"metadata": {"path": str(source.path.parent)}}).execute()
    del notebook.cells[1]
    printed = iter("".join(out.text for out in cell.outputs) for cell in notebook.cells)
    parts: list[tuple[str, bool | None]] = []
    for part in source.parts:
        text = part if isinstance(part, str) else next(printed)
        shows = not isinstance(part, str) and part.options.get("output") == "asis"
        parts.append((text, bool(text.strip()) if shows else None))
    return without_empty(parts)


def test_the_files_the_shipped_template_names_exist() -> None:
    """Plain Quarto takes template, style and scripts from paths relative to the `.qmd`."""
    html = read_qmd(TEMPLATE).front["format"]["html"]
    for key in ("template", "css", "include-in-header"):
        assert (TEMPLATE.parent / html[key]).is_file()
    scripts = re.findall('src="([^"]*)"', (TEMPLATE.parent / html["include-in-header"]).read_text())
    assert len(scripts) == 3
    assert all((TEMPLATE.parent / script).is_file() for script in scripts)


def test_a_page_of_plain_quarto_loads_nothing(copied: Run) -> None:
    """It has a policy of its own, and no links to files that are not beside it."""
    head = (ASSETS / SCRIPTS).read_text()
    assert """content="default-src 'none'; script-src 'unsafe-inline' data:;""" in head
    beside, alone = build_page(copied), build_page(copied, linked=False)
    for part in ("artifacts", "trade_table"):
        assert 'href="../' in getattr(beside, part)()
        assert 'href="../' not in getattr(alone, part)()
        assert "trades.csv" in getattr(alone, part)()


SHOWS = "```{{python}}\n#| output: asis\n{}\n```\n"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("## A\n\nProse.\n\n" + SHOWS.format("print()") + "\n## B\n\n" + SHOWS.format("print('b')"), ["B"]),
        ("## A\n\nProse.\n\n### B\n\n" + SHOWS.format("print('b')"), ["A", "B"]),
        ("## A\n\n" + SHOWS.format("print('a')") + "\n### B\n\n" + SHOWS.format("pass") + "\n## C\n", ["A", "C"]),
        ("## A\n\n```{python}\nx = 1\n```\n\n## B\n\nProse.\n", ["A", "B"]),
        ("## A\n\n" + SHOWS.format("pass") + "\n```\n## no heading\n```\n\n### B\n\n" + SHOWS.format("pass"), []),
    ],
)
def test_a_section_with_nothing_to_show_is_left_out(tmp_path: Path, body: str, kept: list[str]) -> None:
    """It goes with heading and prose when no cell in it or below it printed; cells that only compute do not count."""
    template, scratch = tmp_path / "x.qmd", tmp_path / "scratch"
    scratch.mkdir()
    template.write_text(f"---\ntitle: x\n---\n\nBefore.\n\n{body}", encoding="utf-8")
    text = resolve(template, scratch, parameters={}, title="x").read_text()
    assert re.findall(r"^##+ ([A-Z])$", text, re.MULTILINE) == kept
    assert "Before." in text
    assert "no heading" not in text
    whole = resolve(template, scratch, parameters={}, title="x", whole=True).read_text()
    assert re.findall(r"^##+ .*$", whole, re.MULTILINE) == re.findall(r"^##+ .*$", body, re.MULTILINE)


def test_the_project_file_keeps_runs_out_of_quarto_s_scan() -> None:
    """Quarto would scan all of results/ otherwise, for minutes."""
    project = yaml.safe_load((TEMPLATE.parents[1] / "_quarto.yml").read_text())["project"]
    assert project["render"][0] == "reports/backtest_report.qmd"
    assert {"!results/", "!.venv/"} <= set(project["render"])
