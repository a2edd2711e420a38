"""Find the notebook and the report source a spec names: the project's own, else the ones that ship with the package."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import EvidenceError, shortened
from pipeline.settings import Settings

PACKAGE = Path(__file__).parent
SHIPPED = (PACKAGE / "templates", PACKAGE.parent)  # in an installed wheel; in a checkout


def template_path(settings: Settings, name: str, *, error: type[EvidenceError]) -> Path:
    """Return the file `name` in the project's root, else the packaged one; raises `error` when there is none."""
    try:
        own = settings.resolve(name)
        there = own.is_file()
    except (OSError, ValueError, RuntimeError) as failure:  # a name too long for the system, ~nobody
        reason = getattr(failure, "strerror", None) or failure
        raise error(f"There can be no file {shortened(repr(name), 200)}: {reason}.") from None
    if there:
        return own
    if not Path(name).is_absolute() and ".." not in Path(name).parts:
        for directory in SHIPPED:
            if (directory / name).is_file():
                return directory / name
    raise error(f"There is no file {own}. Give a path relative to the project's root, {settings.root}.")
