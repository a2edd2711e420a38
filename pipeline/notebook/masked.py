"""Take the secrets of a run out of its executed notebook: of the injected cell, of the record of it, of all texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.files import write_atomic
from pipeline.notebook.prepare import INJECTED_TAG, KERNEL, LANGUAGE
from pipeline.notebook.quick_import import import_nbformat
from pipeline.secrets import Secrets


def mask_notebook(path: Path, secrets: Secrets, parameters: Mapping[str, Any]) -> list[str]:
    """Mask the notebook in its file; return the names of the secrets whose values were in it.

    `parameters` are those of the injected cell, masked. One that was cut short is masked as text. A notebook without
    secrets keeps its bytes; so does one that is not there.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    found = secrets.named_in(content)
    if not found and not secrets.parameters:
        return []
    import_nbformat()
    from nbformat import NO_CONVERT, from_dict, reads, writes

    try:
        nb = reads(content.decode(), as_version=NO_CONVERT)
    except (ValueError, KeyError, AttributeError):  # cut short
        write_atomic(path, secrets.hidden(content.decode(errors="replace")).encode())
        return found
    _mask_parameters(nb, parameters)
    for cell in nb.cells:
        cell.source = secrets.hidden(cell.source)
        cell.metadata = from_dict(secrets.hidden_in(cell.metadata))
        for output in cell.get("outputs", []):
            for name in set(output) - {"output_type", "execution_count"}:
                output[name] = from_dict(secrets.hidden_in(output[name]))
    nb.metadata = from_dict(secrets.hidden_in(nb.metadata))
    write_atomic(path, writes(nb).encode())
    return found


def _mask_parameters(nb: Any, parameters: Mapping[str, Any]) -> None:
    from papermill.parameterize import translate_parameters

    for cell in nb.cells:
        if INJECTED_TAG in cell.metadata.get("tags", []):
            cell.source = translate_parameters(KERNEL, LANGUAGE, dict(parameters), "Parameters")
    if "parameters" in nb.metadata.get("papermill", {}):
        nb.metadata.papermill.parameters = json.loads(json.dumps(dict(parameters)))
