"""How a report was made: the record beside it, and what decides whether it would come out the same again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.digest import pretty_json, sha256_bytes, sha256_file
from pipeline.files import read_json
from pipeline.report.resolve import ASSETS
from pipeline.running import write_aside

if TYPE_CHECKING:
    from pipeline.run import Run

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class RenderRecord:
    """How a report was made; equal records mean equal reports. It holds no time, so it can be made again.

    `renderer` is the renderer's name, `version` the program's; `template_sha256` covers the `.qmd`, `sections` (name to
    digest) what the project put in its place, `assets_sha256` style, scripts, filter, page template and the code that
    fills it; `manifest_sha256` is None for a run that was not sealed. `trials` is the number of trials the page counts,
    `trials_sha256` covers all it knows of them; `tracked` is the address of the tracked run. `static` says that figures
    are drawings. `note` says when the preferred renderer failed. `files` are the other formats: digest, size, maker.
    """

    run_id: str
    renderer: str
    version: str
    template: str
    template_sha256: str
    assets_sha256: str
    manifest_sha256: str | None
    report: str
    report_sha256: str
    size: int
    note: str | None = None
    sections: dict[str, str] = field(default_factory=dict)
    static: bool = False
    trials: int = 1
    trials_sha256: str = ""
    tracked: str | None = None
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @property
    def content(self) -> dict[str, Any]:
        """What decides what a report says, whatever its format."""
        names = ("template_sha256", "assets_sha256", "manifest_sha256", "sections", "trials_sha256", "tracked")
        return {name: getattr(self, name) for name in names}


def read_record(run: Run) -> RenderRecord | None:
    """Return the record of the run's report; None when there is none that can be read."""
    try:
        return RenderRecord(**read_json(run.dir.render_record))
    except (OSError, ValueError, TypeError):
        return None


def write_record(run: Run, record: RenderRecord) -> None:
    """Write the record beside the run's report; raises StorageError."""
    write_aside(run.dir, run.dir.render_record, pretty_json(record.to_dict()))


@cache
def assets_digest() -> str:
    """Return one digest over the files of this package that shape every report: assets, and the code of the pages."""
    code = [path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts]
    files = [*(path for path in ASSETS.iterdir() if path.is_file()), *code]
    named = sorted((path.relative_to(PACKAGE).as_posix(), path) for path in files)
    return sha256_bytes("\n".join(f"{sha256_file(path)}  {name}" for name, path in named).encode())
