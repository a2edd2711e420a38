"""Kill a process with SIGKILL at each line of sealing, signing, stating and appending; print what was left behind.

    python -m tests.evidence.killed DIRECTORY STRIDE

One child a step: it makes a run as the pipeline does and kills itself when it is about to execute the Nth line of
the modules that write. The parent then verifies what is there, appends to the ledger and verifies again.
"""

from __future__ import annotations

import collections
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from pipeline.evidence.events import adopt_run
from pipeline.evidence.ledger import Event, append
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.statement import write_report_statement
from pipeline.evidence.verify import verify_run
from pipeline.rundir import RunDir, run_ids
from tests.evidence.sealed_runs import World, kinds, new_signer

EVIDENCE = ("manifest.py", "dsse.py", "statement.py", "ledger.py", "events.py")
WRITERS = ("/pipeline/files.py", "/pipeline/rundir.py", "/pipeline/running.py", *EVIDENCE)


def child(world: World, step: int) -> None:
    """Make a run; die before line `step`. Leave with 0 when there are fewer lines."""
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if "/pipeline/" not in frame.f_code.co_filename or not frame.f_code.co_filename.endswith(WRITERS):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    world.run()
    sys.settrace(None)
    os._exit(0)


def kill_at(world: World, step: int) -> bool:
    """Return whether a child was killed at `step`, False when it finished first."""
    pid = os.fork()
    if pid == 0:
        try:
            child(world, step)
        finally:
            os._exit(9)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def examine(world: World) -> list[str]:
    """Return what is wrong with what a killed process left, by kind; then check that work goes on."""
    left = [f"ledger: {problem.kind}" for problem in check_ledger(world.ledger, trust=world.trust).problems]
    for run_id in run_ids(world.results):
        run = RunDir(world.results, run_id)
        verification = verify_run(run, trust=world.trust, ledger=check_ledger(world.ledger))
        left += [f"run: {kind}" for _, kind in kinds(verification.problems)]
        if verify_run(run).ok:
            adopt_run(run, world.signer)
            if not (run.report_statement.is_file() or run.report_statement_unsigned.is_file()) and run.report.is_file():
                write_report_statement(run, world.signer)  # as rendering again does
            found = verify_run(run, trust=world.trust, ledger=check_ledger(world.ledger)).problems
            assert found == (), list(map(str, found))
    append(world.ledger, Event("run_started"), world.signer)
    assert check_ledger(world.ledger, trust=world.trust).ok
    world.run()
    assert check_ledger(world.ledger, trust=world.trust).ok
    return left or ["whole"]


def main(directory: Path, stride: int) -> None:
    signer = new_signer()
    World(directory / "warm", signer).run()
    outcomes: collections.Counter[str] = collections.Counter()
    step, steps = 0, 0
    while True:
        world = World(directory / str(step), signer)
        if not kill_at(world, step):
            break
        steps += 1
        outcomes[", ".join(sorted(set(examine(world))))] += 1
        step += stride
    print(json.dumps({"steps": steps, "lines": step, "left behind": outcomes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
