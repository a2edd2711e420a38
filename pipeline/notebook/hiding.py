"""Files of a project that stand in the way of a library: a `numpy.py` beside the notebook is what it imports."""

from __future__ import annotations

import sys
from pathlib import Path


def hiding_text(directory: Path) -> str:
    """Return what is to be said of the modules of a directory that have the name of a library; empty without any."""
    found = hiding_modules(directory)
    if not found:
        return ""
    names = ", ".join(str(path) for path in found)
    return f" Python imports {names} in place of the library of that name: give it another name."


def hiding_modules(directory: Path) -> list[Path]:
    """Return the modules and packages of a directory that have the name of an installed library or of Python's own."""
    from importlib.metadata import packages_distributions

    libraries = {*packages_distributions(), *sys.stdlib_module_names}
    modules = [*directory.glob("*.py"), *(path.parent for path in directory.glob("*/__init__.py"))]
    return sorted(path for path in modules if path.stem in libraries and not _is_installed(path))


def _is_installed(path: Path) -> bool:
    """Say whether a package is itself the installed one, as that of a project that is developed where it lies."""
    module = sys.modules.get(path.stem)
    return module is not None and Path(module.__file__ or "").is_relative_to(path)
