"""What a command asks for, as a run spec: from a TOML file, or from the notebook alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import NotebookError, UsageError
from pipeline.notebook.template import InputNotebook, read_notebook
from pipeline.settings import Settings
from pipeline.spec import ENGINE_SECTIONS, RunSpec, parse_override, read_spec, set_dotted
from pipeline.template_files import template_path
from pipeline.toml import parse_toml

OF_STRATEGY, OF_NOTEBOOK = "strategy.params", "run.parameters"


@dataclass(frozen=True)
class Asked:
    """A spec, the bytes it was read from (None when there was no file), and what was laid over it."""

    spec: RunSpec
    given: bytes | None
    overrides: dict[str, Any]


def read_request(
    config: Path | None, notebook: Path | None, params: Iterable[str], more: dict[str, Any], settings: Settings
) -> Asked:
    """Return what is asked for by a spec file, a notebook, or both: then the notebook takes the place of the spec's.

    `params` are `key=value` texts: a key with dots is one of the spec; one without is a param of the strategy where
    the notebook asks for a strategy by a parameter of its own, else a parameter of the notebook. `more` are further
    dotted keys. Raises UsageError.
    """
    if config is None and notebook is None:
        raise UsageError("Nothing says what to run: give a notebook, as in `evidence run my.ipynb`, or --config FILE.")
    name = None if notebook is None else settings.name_of(notebook)
    found = _look(config, name, settings)
    plain = OF_STRATEGY if found is None or found.takes_request("strategy") else OF_NOTEBOOK
    overrides = dict(parse_override(text, plain) for text in params) | more
    if config is not None:
        overrides = {**({"run.notebook": name} if name else {}), **overrides}
        spec, given = read_spec(config, overrides)
        return Asked(spec, given, overrides)
    assert found is not None and name is not None  # noqa: S101, PT018 - a notebook is read when there is no file
    values = _own_values(found, name)
    for key, value in overrides.items():
        set_dotted(values, key, value)
    return Asked(RunSpec.from_mapping(values, where=name), None, overrides)


def _look(config: Path | None, name: str | None, settings: Settings) -> InputNotebook | None:
    """Return the notebook that will be executed; None where the spec has to say first what is wrong with it."""
    if name is None and config is not None:
        try:
            values = parse_toml(config.read_bytes())
            name = str(values.get("run", {}).get("notebook", RunSpec().run.notebook))
        except (OSError, ValueError, AttributeError):
            return None
    try:
        return read_notebook(template_path(settings, str(name), error=NotebookError))
    except NotebookError:
        if config is None:
            raise
        return None


def _own_values(notebook: InputNotebook, name: str) -> dict[str, Any]:
    """Return the spec that a notebook is by itself: its name, and what its own cell says to this package's engine."""
    run: dict[str, Any] = {"notebook": name, "name": notebook.path.stem}
    seed = notebook.defaults.get("seed") if notebook.tagged else None
    if isinstance(seed, int) and not isinstance(seed, bool):
        run["seed"] = seed
    asked = [section for section in ENGINE_SECTIONS if notebook.takes_request(section)]
    return {"run": run, **{section: dict(notebook.defaults.get(section, {})) for section in asked}}
