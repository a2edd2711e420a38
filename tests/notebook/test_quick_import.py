"""nbformat without jsonschema's IRI grammars, until somebody asks for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pipeline.notebook.quick_import import import_nbformat
nbformat = import_nbformat()
assert "rfc3987_syntax" not in sys.modules
assert nbformat is import_nbformat()
from jsonschema import FormatChecker
iri = FormatChecker(["iri"])
assert iri.conforms("http://example.org/é", "iri")
assert not iri.conforms("http://exa mple", "iri")
assert "rfc3987_syntax" in sys.modules
"""


@pytest.mark.slow
def test_the_grammars_are_imported_when_they_are_used() -> None:
    """What jsonschema checks stays the same; only when the parsers are built changes."""
    pytest.importorskip("rfc3987_syntax")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
