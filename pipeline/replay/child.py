"""Execute one run in a process of its own; started as a script by its path, so that any version's package is used.

The request is a JSON file: spec, root, results, run_id, origin, and `signed`, false for a run that needs no signature.
The package `pipeline` is the one PYTHONPATH and the installation give, which may be an older one: only
`run_backtest`, `RunSpec.from_mapping` and `Settings` are called.
"""

from __future__ import annotations

import inspect
import json
import signal
import sys
from pathlib import Path
from typing import Any


def main(request: dict[str, Any]) -> int:
    """Run the request; a failed run is a result like any other. Raises UsageError when nothing was started."""
    from pipeline.runner import run_backtest
    from pipeline.settings import Settings
    from pipeline.spec import RunSpec

    spec = RunSpec.from_mapping(request["spec"], where="the spec of the run")
    settings = Settings(Path(request["root"]), Path(request["results"]))
    wanted: dict[str, Any] = {"origin": request["origin"]}
    if not request["signed"]:
        wanted["signing_key"] = lambda: None
    known = inspect.signature(run_backtest).parameters
    more = {name: value for name, value in wanted.items() if name in known}
    run_backtest(spec, settings=settings, run_id=request["run_id"], **more)
    return 0


if __name__ == "__main__":
    from pipeline.errors import EvidenceError

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main(json.loads(Path(sys.argv[1]).read_bytes())))
    except EvidenceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
