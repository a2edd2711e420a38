"""Render the report of a run for a public page: the same source and renderer, other facts."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.evidence.problem import Problem, Verification
from pipeline.report.blocks import Blocks, text
from pipeline.report.facts import Facts
from pipeline.report.page import Page, Part
from pipeline.report.render import find_template
from pipeline.report.resolve import resolve
from pipeline.report.sections import performance
from pipeline.report.selfcontained import check_self_contained, finish
from pipeline.results.kept import Kept
from pipeline.site.prose import rendered
from pipeline.site.redaction import RedactedRun, Redactor

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.layout import Layout
    from pipeline.results.boundary import Boundary
    from pipeline.results.contract import Fold
    from pipeline.robustness_record import Robustness
    from pipeline.settings import Settings

NOT_TEXT = re.compile(r"<style\b.*?</style>|<script>.*?</script>", re.DOTALL)


class PublicKept(Kept):
    """What a run kept of its result, as a public page may show it."""

    def __init__(self, files: Layout, redactor: Redactor) -> None:
        super().__init__(files)
        self._redactor = redactor

    def part(self, name: str) -> pd.DataFrame | None:
        """Return a table with the names of its columns and its symbols redacted."""
        found = super().part(name)
        if found is None:
            return None
        named = found.set_axis([self._redactor.text(column) for column in found.columns], axis=1)
        return named.assign(symbol=named["symbol"].map(self._redactor.text)) if "symbol" in named else named

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The folds, params redacted."""
        found: tuple[Fold, ...] = super().folds
        return tuple(replace(fold, params=self._redactor.value(fold.params, settings=True)) for fold in found)

    @cached_property
    def tables(self) -> dict[str, Path]:
        """The tables whose files may be shown."""
        return self._shown(super().tables, "tables")

    @cached_property
    def figures(self) -> dict[str, Path]:
        """The figures whose files may be shown."""
        return self._shown(super().figures, "plots")

    def _shown(self, found: dict[str, Path], folder: str) -> dict[str, Path]:
        shows = self._redactor.shows
        return {name: path for name, path in found.items() if shows(f"{folder}/{path.name}", path.read_bytes())}


def _left_out(_: Facts) -> Blocks:
    """Return that the environment is left out: packages and platform say much about a machine."""
    return text("Left out of the public page.")


def _shown_figures(facts: PublicPage) -> Blocks:
    """Return the run's own figures, when the files may be shown."""
    folder = facts.run.dir.plots
    pictures = sorted(folder.glob("*.png")) if folder.is_dir() else []
    shown = [facts.redactor.shows(f"{folder.name}/{path.name}", path.read_bytes()) for path in pictures]
    return performance.static_figures(facts) if shown and all(shown) else ()


@dataclass(frozen=True)
class PublicPage(Page):
    """The report of a run without what identifies people and machines."""

    redactor: Redactor = field(default_factory=Redactor)

    @cached_property
    def verification(self) -> Verification:
        """Whether the run directory matched its seal, in words that may be shown."""
        found, text = super().verification, self.redactor.text
        problems = tuple(Problem(text(item.path), item.kind, text(item.message)) for item in found.problems)
        signer = None if found.signer is None else text(found.signer)
        return replace(found, problems=problems, notes=tuple(map(text, found.notes)), signer=signer)

    @cached_property
    def robustness(self) -> Robustness:
        """What the run found out about itself, its notes redacted."""
        found: Robustness = super().robustness
        notes = {key: self.redactor.text(note) for key, note in found.notes.items()}
        shown: Robustness = self.redactor.value(found)
        return replace(shown, notes=notes)

    @cached_property
    def boundary(self) -> Boundary | None:
        """What was checked of the result and what was not, with every text redacted."""
        found = super().boundary
        return found and replace(
            found, **self.redactor.value({name: list(texts) for name, texts in vars(found).items()})
        )

    @cached_property
    def kept(self) -> Kept:
        """The tables of the result, names redacted; what is the user's own where the files may be shown."""
        return PublicKept(self.run.dir, self.redactor)

    environment = Part(_left_out)
    static_figures = Part(_shown_figures)


def render_public(run: RedactedRun, redactor: Redactor, settings: Settings) -> str:
    """Return the report of a run as HTML that may be public; raises RenderError, also when a word is still in it."""
    with tempfile.TemporaryDirectory(prefix="evidence-site-") as directory:
        scratch = Path(directory)
        page = PublicPage(run, scratch / "images", redactor)
        title = f"{page.title} · backtest report · {run.run_id[:8]}"
        template = find_template(None, settings)
        parameters = {"run_id": run.run_id, "page": page}
        resolved = resolve(template, scratch, parameters=parameters, title=title, figures=page.figures)
        html = rendered(resolved, scratch)
    html = finish(html)
    check_self_contained(html)
    redactor.check(visible_text(html), f"The report of {run.run_id}")
    return html


def visible_text(html: str) -> str:
    """Return a page without style sheets and programs; data of figures and what hides in attributes stays."""
    return unescape(NOT_TEXT.sub("", html))
