"""docs/tutorial.md, executed as it stands: its files written, its commands run, its output compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"(.*?)\s*# exit (\d)$")


def executed(script: str, directory: Path) -> str:
    """Execute the lines of a block in one shell, in `directory` and where it ended before; return what was printed."""
    lines = []
    for line in script.splitlines():
        found = EXPECTED.match(line)
        lines.append(f"{found[1]} || test $? = {found[2]}" if found else line)
    where = directory / ".where"
    start = where.read_text().strip() if where.is_file() else str(directory)
    program = f'set -e\ncd "{start}"\n' + "\n".join(lines) + f'\npwd > "{where}"\n'
    identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("EVIDENCE_", "MLFLOW_"))},
        **identity,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(directory / "config"),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        ["bash", "-c", program], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial(tmp_path: Path) -> None:
    """Every command exits as it says, and every line of output that is shown is printed."""
    printed, kinds = "", set()
    for kind, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        kinds.add(kind)
        if kind == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            place = Path((tmp_path / ".where").read_text().strip())
            (place / name).write_text(text.partition("\n")[2], encoding="utf-8")
        elif kind == "sh":
            printed = executed(text, tmp_path)
        else:
            for line in text.splitlines():
                pattern = ".*".join(map(re.escape, line.strip().split("…")))
                assert re.search(pattern, printed), f"{line!r} is not in:\n{printed}"
    assert kinds == {"sh", "python", "text"}
