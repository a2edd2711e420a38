"""A stand-in for Quarto that renders with the pandoc of the wheel: the commands and places of the real one.

Each start is a line in the file QUARTO_LOG. A document that holds `quarto-fails-here` makes it fail, as a whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from pipeline.report.pandoc import PandocRenderer


def main(arguments: list[str]) -> int:
    with Path(os.environ["QUARTO_LOG"]).open("a") as log:
        log.write(" ".join(arguments) + "\n")
    if arguments == ["--version"]:
        print("1.7.0")
        return 0
    if arguments[0] == "pandoc":
        return subprocess.call([PandocRenderer()._binary(), *arguments[1:]])
    if arguments[0] == "typst":
        import typst

        typst.compile(arguments[-2], output=arguments[-1], timestamp=0)
        return 0
    assert arguments[0] == "render"
    assert arguments[2:] == ["--to", "html"]
    documents = [Path(arguments[1])]
    if arguments[1] == ".":
        project = yaml.safe_load(Path("_quarto.yml").read_text())["project"]
        documents = [path for pattern in project["render"] for path in sorted(Path.cwd().glob(pattern))]
    for document in documents:
        if "quarto-fails-here" in document.read_text(encoding="utf-8"):
            print(f"ERROR: in {document}", file=sys.stderr)
            return 1
        (document.parent / "tmp").mkdir(exist_ok=True)
        PandocRenderer().render(document.absolute(), document.absolute().parent).replace(document.with_suffix(".html"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
