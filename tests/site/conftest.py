"""A site of forty runs of every kind, built once, and a browser with the network cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.evidence.keys import signer_pem
from pipeline.evidence.trust import TRUST_FILE
from pipeline.report.render import render_run
from pipeline.run import Run
from pipeline.rundir import RunDir
from pipeline.settings import Settings
from pipeline.site.build import build_site
from tests.evidence.sealed_runs import new_signer
from tests.site.site_runs import Planned, make_run, varied

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).resolve().parents[2]
ERROR = {
    "kind": "cell", "message": "cell 5 raised ZeroDivisionError: division by zero", "cell": 5,
    "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": 'File "cell", line 3',
}  # fmt: skip
FAILED, KILLED, BROKEN, SIGNED, HOSTILE, RENDERED = 3, 5, 7, 9, 11, 13
HOSTILE_NAME = '<img src=x onerror=alert(1)>],["\\u2028</script>'


@dataclass(frozen=True)
class World:
    """A project, its runs by number, and its site."""

    settings: Settings
    runs: dict[int, Planned]
    site: Path

    def page(self, number: int) -> Path:
        """Return the page of a run."""
        return self.site / "runs" / self.runs[number].run_id / "index.html"


def new_project(root: Path) -> Settings:
    """Return an empty project."""
    root.mkdir(parents=True, exist_ok=True)
    return Settings(root, root / "results")


def render(run: RunDir) -> None:
    """Render the report of a run with the embedded renderer."""
    template = REPOSITORY / "reports" / "backtest_report.qmd"
    render_run(Run(run), renderer="embedded", template=template)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a site of forty runs: among them failed, killed, broken, signed, hostile and rendered ones."""
    settings = new_project(tmp_path_factory.mktemp("site") / "project")
    signer = new_signer()
    changes: dict[int, dict[str, Any]] = {
        FAILED: {"status": "FAILED", "error": ERROR},
        KILLED: {"seal": False},
        HOSTILE: {"name": HOSTILE_NAME, "experiment": "../x & <y>", "tags": {"<b>": "'\"&"}},
        RENDERED: {"bars": 600},
    }
    runs = {number: varied(number, **changes.get(number, {})) for number in range(40)}
    for number, planned in runs.items():
        run = make_run(settings.results, planned, signer if number == SIGNED else None)
        if number == RENDERED:
            render(run)
        if number == BROKEN:
            run.equity.write_bytes(run.equity.read_bytes() + b"\n")
    key = signer_pem(signer)
    path = settings.root / TRUST_FILE
    path.parent.mkdir(parents=True)
    path.write_text(f"[[keys]]\nname = \"alice\"\npublic_key = '''{key}'''\n", encoding="utf-8")
    site = settings.root / "_site"
    build_site(settings, site)
    return World(settings, runs, site)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open an address at a size and in a colour scheme; the test fails for any error, warning or lost request."""
    contexts: list[Any] = []
    problems: list[str] = []

    def call(url: str, *, width: int = 1440, dark: bool = False, allowed: str = "file:") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light",
            offline=allowed == "file:",
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
        page.on("request", lambda r: None if r.url.startswith((allowed, "data:", "blob:")) else problems.append(r.url))
        page.goto(url)
        page.wait_for_load_state("load")
        return page

    yield call
    for context in contexts:
        context.close()
    assert problems == []
