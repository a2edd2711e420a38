"""What both renderers must do with the same resolved Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from pipeline.errors import RenderError
from pipeline.report.pandoc import PandocRenderer
from pipeline.report.quarto import QuartoRenderer, find_quarto
from pipeline.report.renderer import Renderer
from pipeline.report.resolve import resolve
from pipeline.report.selfcontained import check_self_contained, finish

SOURCE = """---
title: Backtest report
lang: en
format:
  html:
    template: template.html
    css: report.css
    include-in-header: scripts.html
    embed-resources: true
    minimal: true
    toc: true
    toc-depth: 2
    html-math-method: plain
    html-table-processing: none
    highlight-style: none
---

## First heading

Prose with *emphasis* and a reference to @fig-plot.

::: {#fig-plot .interactive}

```{=html}
<div class="plot" id="plot-plot" role="group" aria-label="A plot"></div>
<script type="application/json" class="plot-data" data-for="plot-plot">{"data":[]}</script>
```

Caption of \\*the plot\\*.

:::

![Caption of the image](image.png){#fig-static-1 .static fig-alt="A dot"}

## Second heading

```{=html}
<table data-quarto-disable-processing="true"><caption>A table</caption>
<thead><tr><th scope="col">a &lt; b</th></tr></thead><tbody><tr><td class="num">1</td></tr></tbody></table>
```
"""
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f80f00010501012718e366"
    "0000000049454e44ae426082"
)


def words(tag: Tag) -> str:
    """Return an element's text with every run of white space as one space: renderers break lines differently."""
    return " ".join(tag.get_text().split())


class RendererContract:
    """Rules for every renderer; a subclass names one in `renderer`."""

    @pytest.fixture
    def renderer(self) -> Renderer:
        raise NotImplementedError

    def html(self, renderer: Renderer, scratch: Path, source: str = SOURCE) -> str:
        scratch.mkdir()
        template = scratch.parent / "source.qmd"
        template.write_text(source, encoding="utf-8")
        (scratch / "image.png").write_bytes(DOT)
        path = renderer.render(resolve(template, scratch, parameters={}, title="T & U"), scratch)
        assert path.parent == scratch
        return finish(path.read_text(encoding="utf-8"))

    def test_the_page(self, renderer: Renderer, tmp_path: Path) -> None:
        """Headings, contents, numbered figures, references, raw tables, title and the maker's name arrive."""
        html = self.html(renderer, tmp_path / "scratch")
        check_self_contained(html)
        page = BeautifulSoup(html, "html.parser")
        assert words(page.title) == "T & U"
        assert [words(a) for a in page.select("nav#TOC a")] == ["First heading", "Second heading"]
        captions = [words(caption) for caption in page.find_all("figcaption")]
        assert captions == ["Figure 1: Caption of *the plot*.", "Figure 2: Caption of the image"]
        assert words(page.find("a", href="#fig-plot")) == "Figure 1"
        assert page.find(id="fig-plot").select_one(".plot")["aria-label"] == "A plot"
        assert page.select_one("script.plot-data").get_text() == '{"data":[]}'
        assert page.select_one("figure img")["alt"] == "A dot"
        assert page.select_one("figure img")["src"].startswith("data:image/png;base64,")
        assert page.table.th["scope"] == "col"
        assert words(page.table.caption) == "A table"
        assert page.find("meta", attrs={"name": "generator"})["content"] == renderer.version()
        assert renderer.version() in words(page.footer)
        assert page.select_one("main h2")

    def test_same_bytes_elsewhere(self, renderer: Renderer, tmp_path: Path) -> None:
        """The same document rendered in two directories gives the same bytes."""
        (tmp_path / "a" / "deeper").mkdir(parents=True)
        (tmp_path / "b").mkdir()
        first = self.html(renderer, tmp_path / "a" / "deeper" / "scratch")
        assert first == self.html(renderer, tmp_path / "b" / "scratch")

    def test_a_lost_image_is_an_error(self, renderer: Renderer, tmp_path: Path) -> None:
        """What cannot be embedded is an error, never a page with a hole."""
        with pytest.raises(RenderError, match=r"left something out|not self-contained"):
            check_self_contained(self.html(renderer, tmp_path / "scratch", SOURCE.replace("image.png", "gone.png")))

    def test_scratch_only(self, renderer: Renderer, tmp_path: Path) -> None:
        """Nothing is written outside the scratch directory."""
        self.html(renderer, tmp_path / "scratch")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "source.qmd"]


class TestPandoc(RendererContract):
    """The embedded renderer keeps the rules."""

    @pytest.fixture
    def renderer(self) -> Renderer:
        return PandocRenderer()


@pytest.mark.quarto
@pytest.mark.skipif(find_quarto() is None, reason="no Quarto on this machine")
class TestQuarto(RendererContract):
    """Quarto keeps the rules."""

    @pytest.fixture
    def renderer(self) -> Renderer:
        return QuartoRenderer()
