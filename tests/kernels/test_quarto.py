"""Quarto executes its cells in a forked kernel, by the kernelspec alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.kernels import SOCKET_VARIABLE, ForkServer
from pipeline.kernels.__main__ import install
from pipeline.report.quarto import find_quarto

DOCUMENT = """---
jupyter: forked
format:
  html:
    minimal: true
---

```{python}
import sys
print("forked:", "colorsys" in sys.modules)
```
"""


@pytest.mark.quarto
@pytest.mark.skipif(find_quarto() is None, reason="no Quarto on this machine")
def test_quarto_executes_in_a_forked_kernel(tmp_path: Path) -> None:
    """What the server has imported is there before the first cell, and Quarto is not told of another kernel."""
    install("forked", str(tmp_path), user=False)
    (tmp_path / "document.qmd").write_text(DOCUMENT)
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment |= {"JUPYTER_PATH": str(tmp_path / "share" / "jupyter"), "QUARTO_PYTHON": sys.executable}
    with ForkServer(("colorsys",)) as server:
        environment[SOCKET_VARIABLE] = server.address
        command = [str(find_quarto()), "render", "document.qmd"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "An ordinary kernel is used" not in done.stderr
    assert "forked: True" in (tmp_path / "document.html").read_text()
