"""Import nbformat without the two seconds that jsonschema's check of IRIs takes, where JupyterLab brought it along.

`jsonschema` imports `rfc3987_syntax` where that is installed (by `jsonschema[format-nongpl]`, of which JupyterLab has
need), and `rfc3987_syntax` builds 38 parsers when it is imported. Notebooks contain no IRIs to check.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

GRAMMARS = "rfc3987_syntax"


def import_nbformat() -> ModuleType:
    """Import nbformat and return it; the first check of an IRI, in this process, imports the parsers."""
    if "jsonschema" not in sys.modules and GRAMMARS not in sys.modules and find_spec(GRAMMARS) is not None:
        stand_in = ModuleType(GRAMMARS)
        stand_in.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]
        sys.modules[GRAMMARS] = stand_in
        try:
            import_module("jsonschema")
        finally:
            del sys.modules[GRAMMARS]
    return import_module("nbformat")


def _is_valid_syntax(term: str, text: str) -> bool:
    return bool(import_module(GRAMMARS).is_valid_syntax(term, text))
