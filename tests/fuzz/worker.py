"""A process that reads hostile files for the tests, so that a crash or an endless loop is that of this process.

    python -m tests.fuzz.worker TARGET FOLDER

For each case it takes a line of JSON, {"name": file name, "hex": content, "extra": …}, and answers with one:
{"verdict": "read" | "refused" | "fault", "text": …}. More processor time than SECONDS for one case ends it by SIGPROF;
memory beyond MEGABYTES more than at its start is a MemoryError.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

SECONDS = 5.0
MEGABYTES = 1024


def main(target: str, folder: Path) -> None:
    from tests.fuzz.targets import TARGETS

    check = TARGETS[target]
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a case prints is an answer
    warnings.simplefilter("ignore")
    print(json.dumps(run(check, None, folder)), file=answers, flush=True)  # what is imported once is no case's time
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEGABYTES * 2**20,) * 2)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        answer = run(check, json.loads(line), folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), file=answers, flush=True)


def run(check: Any, case: Any, folder: Path) -> dict[str, str]:
    """Give one case to a target in an empty directory; None is the target's own genuine one."""
    from pipeline.errors import EvidenceError

    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        check(place, case)
    except EvidenceError as error:
        return {"verdict": "refused", "text": f"{type(error).__name__}: {error}"}
    except BaseException:  # noqa: BLE001 - to say what it was is what this is for
        return {"verdict": "fault", "text": traceback.format_exc()}
    return {"verdict": "read", "text": ""}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
