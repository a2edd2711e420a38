"""docs/vectors: bundles on which every program that checks bundles must agree, and our two do."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from pipeline.evidence.dsse import read_envelope
from pipeline.evidence.standalone import verify
from pipeline.evidence.trust import Trust, load_trust, trusted
from pipeline.evidence.unbundle import verify_bundle

VECTORS = Path(__file__).parents[2] / "docs" / "vectors"
KEY = VECTORS / "alice.pem"
EXPECTED = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))
ALICE = Trust((trusted(KEY.read_text(encoding="ascii"), "alice"),), require_signatures=True)


def test_every_vector_is_described() -> None:
    """A bundle without an expectation checks nothing, nor does an expectation without a bundle."""
    page = (VECTORS / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in VECTORS.glob("*.zip")} == set(EXPECTED)
    assert all(f"| `{name}` |" in page for name in EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_both_programs_agree_on_every_vector(name: str) -> None:
    """verify.py by its exit codes; `evidence verify` by whether it finds a problem."""
    bundle = VECTORS / f"{name}.zip"
    assert verify.main([str(bundle), "--key", str(KEY)]) == EXPECTED[name]["with_key"]
    assert verify.main([str(bundle)]) == EXPECTED[name]["without_key"]
    assert verify_bundle(bundle, trust=ALICE).ok is (EXPECTED[name]["with_key"] == 0)
    assert verify_bundle(bundle).ok is (EXPECTED[name]["without_key"] == 4)


def test_a_key_whose_time_is_over_proves_nothing() -> None:
    """The trust file bounds when a key may sign; the same bundle is good for an unbounded one."""
    problems = verify_bundle(VECTORS / "good.zip", trust=load_trust(VECTORS / "expired.toml")).problems
    assert {problem.kind for problem in problems} == {"expired key"}


@pytest.mark.parametrize(
    "name", [name for name in EXPECTED if name not in ("torn", "unsigned", "forged-listed-unsigned")]
)
def test_openssl_agrees_about_the_signatures(name: str, tmp_path: Path) -> None:
    """A program in another language: whether alice's key signed the list of files, over DSSE's encoding of it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    with zipfile.ZipFile(VECTORS / f"{name}.zip") as archive:
        member = next(item for item in archive.namelist() if item.endswith("/bundle.dsse.json"))
        signed = read_envelope(archive.read(member))
    kind = signed.payload_type.encode()
    (tmp_path / "message").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(signed.payload), signed.payload))
    (tmp_path / "signature").write_bytes(signed.signature)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(KEY), "-rawin"]
    files = ["-in", str(tmp_path / "message"), "-sigfile", str(tmp_path / "signature")]
    done = subprocess.run([*command, *files], capture_output=True, check=False)
    ours = verify.is_signature(verify.read_pem(KEY.read_bytes()), (tmp_path / "message").read_bytes(), signed.signature)
    assert ours is (done.returncode == 0)
    assert ours is (name not in ("signed-by-another", "small-order"))
