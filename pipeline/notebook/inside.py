"""What runs inside the kernel before the first and after the last cell of a notebook."""

from __future__ import annotations

import os
import random
from pathlib import Path

RUN_ID = "EVIDENCE_RUN_ID"
SEED = "EVIDENCE_SEED"
MODULES_FILE = "EVIDENCE_MODULES_FILE"


def prepare() -> None:
    """Seed the kernel with the run's seed, and take the digests of the modules it imports from now on."""
    from pipeline.notebook.warm import package

    package()
    seed_everything(int(os.environ[SEED]))


def seed_everything(seed: int) -> None:
    """Seed Python's and numpy's global random number generators."""
    random.seed(seed)
    import numpy as np

    np.random.seed(seed)  # noqa: NPY002 - notebooks use the global generator, so that is what is seeded


def record() -> None:
    """Write the digests of all project modules this kernel has imported to the file the parent named."""
    from pipeline.evidence.modules import modules_of_this_process
    from pipeline.rundir import write_json

    write_json(Path(os.environ[MODULES_FILE]), modules_of_this_process())
