"""Print a finished page as PDF: with Quarto's Typst, or with a headless Chromium. The bytes hold no time."""

from __future__ import annotations

import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Protocol

from pipeline.errors import RendererNotFoundError, RenderError
from pipeline.report.program import run_program
from pipeline.report.quarto import QuartoRenderer, find_quarto
from pipeline.report.renderers import AUTO

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
NOTHING = (
    "A PDF needs Quarto 1.6 or later (https://quarto.org/docs/get-started/), whose Typst makes it, or Chromium or "
    "Chrome on PATH, which prints the page. Install one, or render --format html and print that."
)
QUIET = (
    "--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--disable-default-apps", "--no-pdf-header-footer",
    "--generate-pdf-document-outline",
)  # fmt: skip
TIMES = re.compile(rb"/(CreationDate|ModDate) \(D:[^)]*\)")
EPOCH = b"D:19700101000000+00'00'"


class Printer(Protocol):
    """Turns a finished page into a PDF."""

    def version(self) -> str:
        """Return the program's name and version."""
        ...

    def print_page(self, page: Path, scratch: Path, style: str) -> bytes:
        """Return the PDF of a page in `scratch`, whose own style is `style`; raises RenderError."""
        ...


class ChromiumPrinter:
    """Prints the page as a reader would, with the style sheet's rules for paper."""

    def __init__(self, program: str) -> None:
        self.program = program

    def version(self) -> str:
        """Return the browser's name and version."""
        return _chromium_version(self.program)

    def print_page(self, page: Path, scratch: Path, style: str) -> bytes:  # noqa: ARG002 - the page has its style
        """Return the PDF of a page; the browser has a profile of its own and needs no network."""
        target, profile = scratch / "report.pdf", scratch / "profile"
        root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox refuses to run as root
        command = [self.program, *QUIET, *(["--no-sandbox"] if root else []), f"--user-data-dir={profile}"]
        said = run_program([*command, f"--print-to-pdf={target}", page.as_uri()], scratch, what="Chromium", timeout=120)
        if not target.is_file():
            raise RenderError(f"Chromium ended without an error but wrote no PDF:\n{said.strip()[-2000:]}")
        return without_times(target.read_bytes())


class TypstPrinter:
    """Sets the page with the Typst inside Quarto: its pandoc reads the page, its Typst makes the PDF."""

    def version(self) -> str:
        """Return Quarto's version."""
        return f"{QuartoRenderer().version()} (Typst)"

    def print_page(self, page: Path, scratch: Path, style: str) -> bytes:
        """Return the PDF of a page."""
        from pipeline.report.typst_input import write_typst_input

        quarto = find_quarto()
        if quarto is None:
            raise RendererNotFoundError(NOTHING)
        source = write_typst_input(page, scratch, style)
        typst, target = scratch / "report.typ", scratch / "report.pdf"
        arguments = ["--from", "html", "--to", "typst", "--standalone", *source.options]
        run_program(
            [quarto, "pandoc", *arguments, "--output", typst.name, source.path.name], scratch, what="Quarto's pandoc"
        )
        command = [quarto, "typst", "compile", typst.name, target.name]
        said = run_program(command, scratch, what="Quarto's Typst")
        if not target.is_file():
            raise RenderError(f"Typst ended without an error but wrote no PDF:\n{said.strip()[-2000:]}")
        return target.read_bytes()


def choose_printer(renderer: str = AUTO) -> Printer:
    """Return what makes PDFs: Quarto where it is installed, else Chromium; `quarto` and `embedded` name one.

    Raises RendererNotFoundError saying what to install.
    """
    program = find_browser()
    if renderer != "embedded" and find_quarto() is not None:
        return TypstPrinter()
    if renderer != "quarto" and program is not None:
        return ChromiumPrinter(program)
    raise RendererNotFoundError(NOTHING)


def find_browser() -> str | None:
    """Return the path of a Chromium or Chrome on PATH."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def without_times(data: bytes) -> bytes:
    """Return a PDF with every date in it set to the first second of 1970; its length stays, so its offsets do."""

    def still(match: re.Match[bytes]) -> bytes:
        room = len(match[0]) - len(match[1]) - len(b"/ ()")
        return b"/" + match[1] + b" (" + EPOCH[:room].ljust(room, b" ") + b")"

    return TIMES.sub(still, data)


@cache
def _chromium_version(program: str) -> str:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="evidence-") as scratch:
        said = run_program([program, "--version"], Path(scratch), what="Chromium").strip().splitlines()
    found = re.search(r"[A-Za-z ]*(\d+(?:\.\d+)+)", said[-1] if said else "")
    return f"Chromium {found[1]}" if found else "Chromium"
