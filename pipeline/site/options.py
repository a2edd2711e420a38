"""How a project wants its website: `config/site.toml`, every key optional, unknown ones refused.

title = "Backtest runs"
files = true                      # copy the sealed files, so that a visitor can check them

[public]                          # what `evidence site build --public` leaves out besides what it always does
hide = ["Acme Capital"]           # words, wherever they occur; case does not count
patterns = ['ACC-[0-9]+']         # regular expressions
hide_tags = ["client"]            # tags by their key
files = ["stats.json"]            # the only sealed files that are shown; patterns as `plots/*.png` work
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError, nearest
from pipeline.settings import Settings
from pipeline.site.patterns import own_patterns
from pipeline.toml import parse_toml

OPTIONS_FILE = Path("config") / "site.toml"
PUBLIC_FILES = (
    "stats.json",
    "equity.csv",
    "trades.csv",
    "reports/trades_summary.json",
    "reports/backtest_report.txt",
    "plots/*.png",
)
TOP = ("title", "files", "public")
FIELDS = {"files": "public_files"}
PUBLIC = ("hide", "patterns", "hide_tags", "files")


@dataclass(frozen=True)
class SiteOptions:
    """What a website shows. `public` is chosen for each build, the rest comes from `config/site.toml`."""

    title: str = "Backtest runs"
    files: bool = True
    hide: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    hide_tags: tuple[str, ...] = ()
    public_files: tuple[str, ...] = PUBLIC_FILES
    public: bool = False


def load_options(settings: Settings, *, public: bool = False) -> SiteOptions:
    """Return the project's options, the defaults without a file; raises UsageError that names key and file."""
    path = settings.root / OPTIONS_FILE
    if not path.is_file():
        return SiteOptions(public=public)
    try:
        values = parse_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    return replace(_checked(values, path), public=public)


def _checked(values: dict[str, Any], path: Path) -> SiteOptions:
    _only(values, TOP, path)
    table = values.get("public", {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: public is a table, written [public].")
    _only(table, PUBLIC, f"{path}, [public]")
    title, files = values.get("title", SiteOptions.title), values.get("files", True)
    if not isinstance(title, str) or not title.strip() or not isinstance(files, bool):
        raise UsageError(f"{path}: title is text, files is true or false.")
    lists = {FIELDS.get(key, key): _texts(table, key, path) for key in PUBLIC if key in table}
    try:
        own_patterns(lists.get("patterns", ()))
    except UsageError as error:
        raise UsageError(f"{path}, {error}") from None
    return replace(SiteOptions(title, files), **lists)  # type: ignore[arg-type]


def _texts(table: dict[str, Any], key: str, path: Path) -> tuple[str, ...]:
    given = table[key]
    if not isinstance(given, list) or not all(isinstance(item, str) and item for item in given):
        raise UsageError(f"{path}, [public] {key}: a list of texts is needed, none of them empty.")
    return tuple(given)


def _only(values: dict[str, Any], known: tuple[str, ...], where: object) -> None:
    for name in values:
        if name not in known:
            raise UsageError(f"{where}: unknown key {name!r}. {nearest(name, known)}")
