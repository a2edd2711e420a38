"""Fuzzing: what strangers' files do to the readers of this package is documented, bounded in time and memory."""

from __future__ import annotations

import collections
import json
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.fuzz.cases import COUNTS, cases_of

pytestmark = pytest.mark.slow
WAIT = 60  # seconds for an answer; the worker ends a case by its processor time long before
SHOWN = 5


class Worker:
    """A process that is given cases, and a new one when it died of one."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.folder = target, folder
        self.process = self._start()
        self.genuine = self._answer()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.fuzz.worker", self.target, str(self.folder)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(self, case: dict[str, Any]) -> dict[str, str]:
        """Return what became of a case."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(case).encode() + b"\n")
        self.process.stdin.flush()
        answer = self._answer()
        if answer["verdict"] == "dead":
            self.process = self._start()
            self._answer()
        return answer

    def _answer(self) -> dict[str, str]:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if ready.select(WAIT) else b""
        if line:
            answer: dict[str, str] = json.loads(line)
            return answer
        self.process.kill()
        return {"verdict": "dead", "text": f"the process ended: {self.process.wait()}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and processor time are set as Linux sets them")
@pytest.mark.parametrize("target", COUNTS)
def test_a_stranger_s_file_is_read_or_refused(target: str, tmp_path: Path) -> None:
    """Never another error than a documented one, never more than 5 s of work or 1 GiB of memory."""
    answers: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    with Worker(target, tmp_path) as worker:
        assert worker.genuine == {"verdict": "read", "text": ""}
        for number, case in enumerate(cases_of(target)):
            answer = worker.ask(case)
            answers[answer["verdict"]] += 1
            if answer["verdict"] in {"fault", "dead"}:
                data = bytes.fromhex(case["hex"])
                faults.append(f"case {number}, {case['name']} {case['extra']} {data[:80]!r}: {answer['text'][-1500:]}")
    print(f"\n{target}: {dict(answers)}")
    assert not faults, f"{len(faults)} of {answers.total()}:\n" + "\n".join(faults[:SHOWN])
    assert answers.total() == COUNTS[target]
    assert answers["refused"]


def test_there_are_enough_cases() -> None:
    """Two thousand, over all targets."""
    assert sum(COUNTS.values()) >= 2000
