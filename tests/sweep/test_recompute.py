"""What a sweep says of its trials, computed again from its table: here, and from a bundle without the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.standalone import verify
from pipeline.evidence.unbundle import open_sent, verify_bundle
from pipeline.files import write_json
from pipeline.replay.public import public_luggage
from pipeline.replay.recompute import Recomputation
from pipeline.replay.sent import replay_sent
from pipeline.run import Run
from pipeline.settings import Settings
from pipeline.sweep.recompute import recompute_sweep
from tests.sweep.sweeps import search, spec


def of(found: Recomputation, verdict: str) -> dict[str, str]:
    return {figure.name: figure.why for figure in found.figures if figure.verdict == verdict}


def from_bundle(run: Run, target: Path) -> Recomputation:
    with open_sent(make_bundle(run.dir, target, ledger=run.dir.ledger).path) as sent:
        return recompute_sweep(Run(sent.run))


@pytest.mark.slow
def test_a_sweep_comes_out_again_here_and_from_its_bundle(project: Settings, tmp_path: Path) -> None:
    """Best trial, deflated Sharpe ratio, overfitting and walk-forward are equal; of a second sweep of the family, the
    bundle's table does not hold all trials that deflate, which is said of those figures alone.
    """
    first = search(project, spec()).run
    for found in (recompute_sweep(first), from_bundle(first, tmp_path / "a.zip")):
        assert of(found, "differs") == {}
        assert of(found, "cannot be checked") == {}
        assert {"best trial", "deflation.dsr", "overfitting.pbo", "walk_forward.out_of_sample"} <= of(
            found, "equal"
        ).keys()
    second = search(project, spec(sweep={"name": "second"}, space={"fast": [7, 9], "slow": [40, 50]})).run
    assert of(recompute_sweep(second), "cannot be checked") == {}
    found = from_bundle(second, tmp_path / "b.zip")
    assert of(found, "differs") == {}
    reason = "8 of the 12 trials that deflate it are not in this table"
    assert (
        dict.fromkeys(("deflation.dsr", "deflation.expected_max"), reason).items()
        <= of(found, "cannot be checked").items()
    )


@pytest.mark.slow
def test_a_sweep_that_was_sent_is_not_replayed_and_goes_out_without_what_is_private(
    project: Settings, tmp_path: Path
) -> None:
    """The reason names what its receiver can do, not what only the sender's project has. Its table of trials, which may
    hold anything, is no public file; both verifiers take the rest.
    """
    run = search(project, spec(sweep={"best": 1})).run
    best = json.loads(run.dir.statistics.read_bytes())["best_runs"][0]
    bundle = make_bundle(run.dir, tmp_path / "a.zip", ledger=run.dir.ledger).path
    with pytest.raises(UsageError, match=rf"`evidence recompute {bundle}` checks .* its best trial, the run {best}"):
        replay_sent(bundle)
    luggage = public_luggage(run, project)
    public = make_bundle(run.dir, tmp_path / "b.zip", ledger=run.dir.ledger, luggage=luggage).path
    assert {"trials.jsonl", "manifest.json"} <= {item.name for item in luggage.left_out}
    assert dict(luggage.files) == {}
    assert verify_bundle(public).verdict == "consistent"
    assert verify.main([str(public)]) == 4


@pytest.mark.slow
def test_lies_about_the_best_trial_are_found(project: Settings) -> None:
    """Another best trial, a better ratio, a lower probability of overfitting, an edited trial: each is named."""
    run = search(project, spec()).run
    told = json.loads(run.dir.statistics.read_bytes())
    trials = run.dir.trials.read_bytes()

    def lied(**changes: Any) -> dict[str, str]:
        write_json(run.dir.statistics, {**told, **changes})
        return of(recompute_sweep(Run(run.dir)), "differs")

    assert "best trial" in lied(best=told["ranking"][-1])
    assert "deflation.dsr" in lied(deflation={**told["deflation"], "dsr": 0.999})
    assert "overfitting.pbo" in lied(overfitting={**told["overfitting"], "pbo": 0.0})
    lines = trials.splitlines()
    better = json.loads(lines[3])
    better["stats"]["sharpe"] = 9.9
    run.dir.trials.write_bytes(b"\n".join([*lines[:3], json.dumps(better).encode(), *lines[4:], b""]))
    assert "Sharpe ratio of each trial (trial 3)" in lied()
    run.dir.trials.unlink()
    with pytest.raises(UsageError, match="there is no table of its trials"):
        recompute_sweep(Run(run.dir))
