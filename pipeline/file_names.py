"""Names of files from elsewhere: which stay below their directory, which are one name, which Windows refuses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

WINDOWS_REFUSES = re.compile(
    r'[<>:"|?*\x01-\x1f]|[. ](?:/|$)|(?:^|/)(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:\.[^/]*)?(?:/|$)', re.IGNORECASE
)


def is_plain_name(name: Any) -> bool:
    """Say whether `name` is a relative POSIX path, in UTF-8, that stays below its directory on every platform."""
    if not isinstance(name, str) or not name or "\\" in name or re.search("[\0\ud800-\udfff]", name):
        return False
    return not name.startswith("/") and not re.match(r"[A-Za-z]:", name) and not {"", ".", ".."} & {*name.split("/")}


def one_form(name: str) -> str:
    """Return what a file system that tells neither case nor Unicode forms apart makes of a name."""
    return unicodedata.normalize("NFC", name).casefold()


def refused_by_windows(names: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each path that is no file name on Windows."""
    for name in names:
        if WINDOWS_REFUSES.search(name):
            yield f"{name!r} is no file name on Windows: the run cannot be copied whole to there."
