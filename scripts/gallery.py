"""docs/gallery.md from the notebooks of notebooks/gallery."""

from __future__ import annotations

import json
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks" / "gallery"
# The page follows this order; notebooks that it does not name come after it.
FIRST = ("series", "weights", "bt", "backtesting", "vectorbt", "skfolio", "backtrader", "zipline", "nautilus_trader")
INTRO = """# Gallery

{generated}

A small notebook for each kind of result that [`run.save`](results.md) takes. They are in `notebooks/gallery/`, and
each is executed by a test with the library it is about. `evidence run notebooks/gallery/bt.ipynb` seals one, where its
library is installed: none of them is a dependency of this package. Funds and index are
[real prices](../notebooks/data/README.md). The larger example of a portfolio, walked forward, is
`notebooks/portfolio.ipynb` with `config/portfolio.toml`.
"""


def gallery_page(generated: str) -> str:
    """Return the page: of each notebook its text, and its code as one block."""
    paths = sorted(NOTEBOOKS.glob("*.ipynb"), key=lambda path: FIRST.index(path.stem) if path.stem in FIRST else 99)
    return "\n".join([INTRO.format(generated=generated), *(_section(path) for path in paths)])


def _section(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return f"#{text}\n\n`notebooks/gallery/{path.name}`\n\n```python\n{code}\n```\n"
