"""Take from a process what Windows has not, as far as another system can show it; Python imports this from PYTHONPATH.

No fork, so processes are spawned and kernels are fresh ones; no `flock` for this package; kernels over TCP. What is not
shown: Windows' own file names, line ends, open files and consoles, which tests of their own are about.
"""

import builtins
import multiprocessing
import os
from typing import Any

MISSING = (
    "copy_file_range", "fork", "forkpty", "killpg", "pread", "pwrite", "register_at_fork", "setsid", "waitid",
)  # fmt: skip
REAL_IMPORT = builtins.__import__


def import_as_there(name: str, *arguments: Any, **keywords: Any) -> Any:
    """Import a module, but `fcntl` and `resource` not for this package."""
    importing = (arguments[0] if arguments else keywords.get("globals")) or {}
    if name in {"fcntl", "resource"} and str(importing.get("__name__")).startswith("pipeline"):
        raise ModuleNotFoundError(f"there is no {name} on this system")
    return REAL_IMPORT(name, *arguments, **keywords)


for attribute in MISSING:
    if hasattr(os, attribute):
        delattr(os, attribute)
builtins.__import__ = import_as_there
multiprocessing.get_all_start_methods = lambda: ["spawn"]  # type: ignore[method-assign]
multiprocessing.set_start_method("spawn")
os.environ.update(FORKED_KERNELS="0", EVIDENCE_KERNEL_TRANSPORT="tcp")
