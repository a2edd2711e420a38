"""The verifier that travels: `verify.py` is one file that needs nothing but Python, and imports nothing from here."""

from __future__ import annotations

from importlib.resources import files


def source() -> bytes:
    """Return the program, byte for byte as it is published and packed into bundles."""
    return (files(__name__) / "verify.py").read_bytes()
