"""What runs inside the kernel before the first and after the last cell of a notebook."""

from __future__ import annotations

import codecs
import json
import os
import random
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

RUN_ID = "EVIDENCE_RUN_ID"
SEED = "EVIDENCE_SEED"
MODULES_FILE = "EVIDENCE_MODULES_FILE"
INPUTS = "inputs.json"
PLACES_FILE = "EVIDENCE_PLACES_FILE"  # which files count as inputs
SHOWN = "evidence-shown"  # how this module encodes what UTF-8 cannot


def prepare() -> None:
    """Seed the kernel with the run's seed, take the digests of what it imports and reads from now on.

    A cell that calls `exit()` ends the notebook, not the kernel, which has its imports to record; and a message with
    half of a surrogate pair is sent, not lost.
    """
    from IPython import get_ipython

    from pipeline.notebook.warm import package

    package()
    seed_everything(int(os.environ[SEED]))
    shell: Any = get_ipython()
    shell.ask_exit = partial(shell.payload_manager.write_payload, {"source": "ask_exit", "keepkernel": True})
    codecs.register_error(SHOWN, _shown)
    shell.kernel.session.pack = partial(_pack, shell.kernel.session.pack)
    if places := os.environ.get(PLACES_FILE):
        from pipeline.inputs import doors, watch
        from pipeline.inputs.places import Places

        doors.open_doors()
        watch.start(Places.read(Path(places)))


def _pack(pack: Callable[[Any], bytes], message: Any) -> bytes:
    """Return a message as JSON in UTF-8; what UTF-8 cannot say is shown by its code point."""
    try:
        return pack(message)
    except UnicodeEncodeError:
        from jupyter_client.jsonutil import json_default

        return json.dumps(message, default=json_default, ensure_ascii=False).encode("utf-8", errors=SHOWN)


def _shown(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    code_points = (f"\\\\u{ord(character):04x}" for character in error.object[error.start : error.end])
    return "".join(code_points), error.end


def seed_everything(seed: int) -> None:
    """Seed Python's and numpy's global random number generators."""
    random.seed(seed)
    import numpy as np

    np.random.seed(seed)  # noqa: NPY002 - notebooks use the global generator, so that is what is seeded


def record(file: str) -> None:
    """Write the digests of all project modules this kernel has imported to `file`, and beside it what it read."""
    from pipeline.evidence.modules import modules_of_this_process
    from pipeline.files import write_json
    from pipeline.inputs import watch
    from pipeline.inputs.observed import write_observed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notebook may have made errors of them
        observed = watch.stop()
        write_json(Path(file), modules_of_this_process())
        write_observed(Path(file).with_name(INPUTS), observed)
