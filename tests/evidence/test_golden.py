"""Evidence outlives the program that made it: one sealed, signed, chained, bundled run of each schema version.

The samples are never made again. A new schema version adds a directory; the old ones stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.evidence.ledger import Checkpoint
from pipeline.evidence.manifest import SCHEMA_VERSION
from pipeline.evidence.trust import load_trust
from pipeline.evidence.unbundle import verify_bundle
from pipeline.evidence.verify import KNOWN_VERSIONS
from pipeline.evidence.verify_all import verify_all

GOLDEN = Path(__file__).parent / "golden"


def test_every_known_version_has_a_sample() -> None:
    """A version that can be written, or was ever written, can be verified, and a sample shows it."""
    assert {path.name for path in GOLDEN.iterdir()} == {f"v{version}" for version in KNOWN_VERSIONS}
    assert SCHEMA_VERSION in KNOWN_VERSIONS


@pytest.mark.parametrize("version", sorted(KNOWN_VERSIONS))
def test_old_evidence_still_verifies(version: int) -> None:
    """Files, signatures, report, ledger, checkpoint and bundle of every version, with today's code."""
    sample = GOLDEN / f"v{version}"
    trust = load_trust(sample / "trusted_keys.toml")
    checkpoint = Checkpoint.parse((sample / "checkpoint").read_text())
    verifications = list(verify_all(sample / "results", trust=trust, checkpoint=checkpoint))
    assert [verification.problems for verification in verifications] == [(), ()]
    assert verifications[1].signer == "golden"
    assert verify_bundle(sample / "bundle.zip", trust=trust).problems == ()
