"""`pipeline/evidence/standalone/verify.py`: a bundle checked with one file and nothing but Python."""

from __future__ import annotations

import ast
import base64
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.keys import signer_pem
from pipeline.evidence.luggage import Luggage
from pipeline.evidence.standalone import source, verify
from pipeline.evidence.strict_json import LONGEST, canonical
from pipeline.evidence.unbundle import verify_bundle
from pipeline.rundir import RunDir
from tests.evidence.sealed_runs import World, new_signer
from tests.evidence.test_bundle import content_attacks, repack, unpack
from tests.evidence.test_shapes import odd_versions

LEAVES = "ledger/leaves.jsonl"
ROOT = Path(__file__).parents[2]
# RFC 8032, section 7.1: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
# The points of order 1, 2, 4 and 8: y, and with the sign bit where x is not 0.
EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303021094
SMALL_ORDERS = [1, verify.P - 1, 0, 2**255, EIGHTH, EIGHTH | 2**255, verify.P - EIGHTH, verify.P - EIGHTH | 2**255]


@pytest.fixture
def bundle(world: World, signed: RunDir, tmp_path: Path) -> Path:
    along = Luggage({"package/pipeline/digest.py": b"x = 1\n"}, ("ledger", "code"), scopes=frozenset({0, 1}))
    make_bundle(signed, tmp_path / "bundle.zip", ledger=world.ledger, signer=world.signer, luggage=along)
    return tmp_path / "bundle.zip"


def keyid(world: World) -> str:
    return str(world.signer.public_key.keyid)


def pem(der: bytes) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n" % base64.b64encode(der)


def check(path: Path, *keys: str) -> int:
    return int(verify.main([str(path), *(part for key in keys for part in ("--key", key))]))


def test_it_is_short_and_needs_only_the_standard_library() -> None:
    """Somebody can read it in ten minutes: under 400 lines, no import of anything that has to be installed."""
    nodes = [*ast.walk(ast.parse(source()))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert len(source().splitlines()) < 400
    assert not any(isinstance(node, ast.ImportFrom) for node in nodes)
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("page", ["docs/evidence.md", "CHANGELOG.md"])
def test_its_digest_is_published(page: str) -> None:
    """Whoever takes the file from somewhere can compare it with what the documentation and the release notes say."""
    assert verify.hashlib.sha256(source()).hexdigest() in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(key: str, message: str, signature: str) -> None:
    """The specification's own signatures are good; one bit off, or s replaced by s + L, they are not."""
    public, text, good = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert verify.is_signature(public, text, good)
    assert not verify.is_signature(public, text + b"x", good)
    s = int.from_bytes(good[32:], "little")
    assert not verify.is_signature(public, text, good[:32] + (s + verify.L).to_bytes(32, "little"))
    assert not verify.is_signature(public, text, good[:63])


def test_signatures_agree_with_openssl() -> None:
    """OpenSSL, by way of cryptography, gives the same verdict on 60 signatures, half of them with one bit changed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    for number in range(60):
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        message = bytes(range(number))
        signature = bytearray(private.sign(message))
        signature[number % 64] ^= (number % 2) << number % 8
        try:
            private.public_key().verify(bytes(signature), message)
            good = True
        except InvalidSignature:
            good = False
        assert good is (number % 2 == 0)
        try:
            ours = verify.is_signature(private.public_key().public_bytes_raw(), message, bytes(signature))
        except ValueError:  # R is not a point
            ours = False
        assert ours is good


@pytest.mark.parametrize("number", [*SMALL_ORDERS, verify.P, verify.P + 1, 1 | 2**255, 2**255 - 1])
def test_a_key_under_which_anybody_can_sign_is_refused(number: int) -> None:
    """The eight points of small order, and what is not written in its only form."""
    key = number.to_bytes(32, "little")
    with pytest.raises(ValueError, match=r"small order|only form"):
        verify.read_pem(pem(verify.DER + key))


def test_only_a_key_that_was_named_proves_a_bundle(world: World, bundle: Path, tmp_path: Path) -> None:
    """0 with the signer's id or file, 4 without a key, 3 with somebody else's; as zip and unpacked."""
    folder, file = unpack(bundle, tmp_path / "unpacked"), tmp_path / "alice.pem"
    file.write_text(signer_pem(world.signer))
    for path in (bundle, folder):
        assert check(path, keyid(world)) == 0
        assert check(path, keyid(world).upper(), str(file)) == 0
        assert check(path) == 4
        assert check(path, "0" * 64) == 3
        other = tmp_path / "other.pem"
        other.write_text(signer_pem(new_signer()))
        assert check(path, str(other)) == 3


def test_what_cannot_be_used_is_not_called_a_forgery(bundle: Path, tmp_path: Path) -> None:
    """No such file, no such key, and a key that came along with the bundle: exit code 2."""
    folder = unpack(bundle, tmp_path / "unpacked")
    assert check(tmp_path / "nowhere.zip") == 2
    assert check(bundle, str(tmp_path / "nowhere.pem")) == 2
    assert check(bundle, str(folder / "README.txt")) == 2
    assert check(folder, str(next(folder.glob("keys/*.pem")))) == 2


def test_what_nobody_signed_is_never_proven(world: World, tmp_path: Path) -> None:
    """A bundle without signatures is consistent at best; a key finds nothing of its own in it."""
    run = World(world.results, None).run(report=None)
    make_bundle(run, tmp_path / "plain.zip")
    (tmp_path / "alice.pem").write_text(signer_pem(world.signer))
    assert check(tmp_path / "plain.zip") == 4
    assert check(tmp_path / "plain.zip", str(tmp_path / "alice.pem")) == 3


def test_three_lists_say_what_was_proven_believed_and_left_out(
    world: World, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The word PROVEN stands only where a named key signed; consoles of any encoding can print all of it."""
    assert check(bundle, keyid(world)) == 0
    proven = capsys.readouterr().out
    assert check(bundle) == 4
    consistent = capsys.readouterr().out
    assert proven.endswith("PROVEN\n")
    assert [line for line in proven.splitlines() if line.endswith(":")] == [
        "Problems:",
        "Proven:",
        "Taken on trust:",
        "Not covered:",
    ]
    assert "NOT PROVEN" in consistent
    assert "Proven:" not in consistent
    assert proven.isascii()


def resealed(files: dict[str, bytes], run_id: str, signer: Any = None, **outcome: str) -> None:
    """Do what somebody with the project's code but another key can do: better statistics, everything signed again.

    `signer` is the owner's for what he does himself, `outcome` the status and times that the manifest then says.
    """
    signer = signer or new_signer()
    stats = f"{run_id}/stats.json"
    files[stats] = b'{"sharpe": 2.61}\n'
    manifest = json.loads(files[f"{run_id}/manifest.json"])
    for subject in manifest["subject"]:
        if subject["name"] == "stats.json":
            subject["digest"]["sha256"] = verify.hashlib.sha256(files[stats]).hexdigest()
            subject["annotations"]["size"] = len(files[stats])
    for part in (manifest["predicate"]["evidence_run"], manifest["predicate"]["runDetails"]["metadata"]):
        part |= {name: text for name, text in outcome.items() if name in part}
    files[f"{run_id}/manifest.json"] = canonical(manifest)
    files[f"{run_id}/manifest.dsse.json"] = make_envelope(files[f"{run_id}/manifest.json"], STATEMENT, signer)
    listed_again(files, run_id, signer)


def listed_again(files: dict[str, bytes], run_id: str, signer: Any) -> None:
    """Leave out what is about the old seal, and sign the list of the files that are there now."""
    for name in [name for name in files if name.startswith((f"{run_id}/report/", "ledger/", "keys/"))]:
        del files[name]
    files["keys/alice.pem"] = signer_pem(signer).encode()
    statement = json.loads(read_envelope(files.pop("bundle.dsse.json")).payload)
    digests = {name: verify.hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    statement["subject"] = [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)]
    statement["predicate"] |= {"manifest_sha256": digests[f"{run_id}/manifest.json"], "ledger": None}
    files["bundle.dsse.json"] = make_envelope(canonical(statement), STATEMENT, signer)


def forgeries(run_id: str) -> dict[str, Callable[[dict[str, bytes]], Any]]:
    report = f"{run_id}/report/statement.dsse.json"
    return {name: change for name, (change, _) in content_attacks(run_id).items()} | {
        "edit the sealed statistics and the report": lambda f: f.update(
            {f"{run_id}/stats.json": b'{"sharpe": 2.61}\n', f"{run_id}/report/index.html": b"Sharpe 2.61"}
        ),
        "sign it all again with another key": lambda f: resealed(f, run_id),
        "a program that says what one likes": lambda f: f.update({"verify.py": b"print('PROVEN')\n"}),
        "a module that the program would import": lambda f: f.update({"json.py": b"print('PROVEN')\n"}),
        "an unfinished file in the report": lambda f: f.update({f"{run_id}/report/.partial-1-x": b"x"}),
        "edit the code that came along": lambda f: f.update({"package/pipeline/digest.py": b"x = 2\n"}),
        "add an input": lambda f: f.update({"inputs/" + "ab" * 32 + ".csv": b"x"}),
        "remove the leaves of the ledger": lambda f: f.pop(LEAVES),
        "edit a leaf": lambda f: f.update({LEAVES: f[LEAVES].replace(b"run_started", b"run_adopted")}),
        "remove a leaf": lambda f: f.update({LEAVES: f[LEAVES].split(b"\n", 1)[1]}),
        "two signatures": lambda f: f.update({report: twice(f[report])}),
        "an envelope without a signature": lambda f: f.update({report: twice(f[report], 0)}),
    }


def twice(envelope: bytes, times: int = 2) -> bytes:
    value = json.loads(envelope)
    value["signatures"] = value["signatures"] * times
    return canonical(value)


@pytest.mark.parametrize("forgery", forgeries("x").keys())
def test_every_forgery_is_found_by_both_programs(
    world: World, signed: RunDir, bundle: Path, tmp_path: Path, forgery: str
) -> None:
    """Packed well, with fitting sums: with the owner's key neither program lets it pass, as zip or unpacked."""
    changed = repack(unpack(bundle, tmp_path / "u"), tmp_path / "changed.zip", forgeries(signed.run_id)[forgery])
    assert check(changed, keyid(world)) == 3
    assert check(unpack(changed, tmp_path / "c"), keyid(world)) == 3
    assert not verify_bundle(changed, trust=world.trust).ok


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ({"status": "FINISHED"}, 0),
        ({"status": "FAILED"}, 0),
        ({"status": "GREAT"}, 3),
        ({"startedOn": "2027-01-01T00:00:00Z"}, 3),
    ],
)
def test_how_a_run_ended_is_said_and_has_to_be_possible(
    world: World,
    signed: RunDir,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    outcome: dict[str, str],
    code: int,
) -> None:
    """A failed run is proven to be one; what no run can say of itself is a problem, whoever signed it, in both."""
    packed = repack(
        unpack(bundle, tmp_path / "u"),
        tmp_path / "changed.zip",
        lambda files: resealed(files, signed.run_id, world.signer, **outcome),
    )
    assert check(packed, keyid(world)) == code
    assert verify_bundle(packed, trust=world.trust).ok is (code == 0)
    if code == 0:
        assert f"The seal of the run {signed.run_id}, {outcome['status']}, lists" in capsys.readouterr().out


@pytest.mark.slow
def test_what_verify_py_refuses_the_other_does_not_take(
    world: World, signed: RunDir, bundle: Path, tmp_path: Path
) -> None:
    """A seal of any shape, signed and listed by the owner of the key: answered by both, and never proven by one alone
    that knows less of the form of a seal than the other.
    """
    folder = unpack(bundle, tmp_path / "u")
    name = f"{signed.run_id}/manifest.json"
    for odd in itertools.islice(odd_versions(json.loads((folder / name).read_bytes())), 0, None, 5):

        def change(files: dict[str, bytes], odd: Any = odd) -> None:
            files[name] = canonical(odd)
            files[name.replace(".json", ".dsse.json")] = make_envelope(files[name], STATEMENT, world.signer)
            listed_again(files, signed.run_id, world.signer)

        packed = repack(folder, tmp_path / "odd.zip", change)
        assert check(packed, keyid(world)) == 0 or not verify_bundle(packed, trust=world.trust).ok, odd


def test_a_list_about_another_seal_is_a_problem(world: World, signed: RunDir, bundle: Path, tmp_path: Path) -> None:
    """Whoever signed it: the list names the seal that it is about, and that is the one that is here."""

    def change(files: dict[str, bytes]) -> None:
        statement = json.loads(read_envelope(files["bundle.dsse.json"]).payload)
        statement["predicate"]["manifest_sha256"] = "ab" * 32
        files["bundle.dsse.json"] = make_envelope(canonical(statement), STATEMENT, world.signer)

    packed = repack(unpack(bundle, tmp_path / "u"), tmp_path / "c.zip", change)
    assert check(packed, keyid(world)) == 3
    assert [problem.path for problem in verify_bundle(packed, trust=world.trust).problems] == ["bundle.dsse.json"]


@pytest.mark.slow
def test_every_bit_of_a_zip_counts(world: World, bundle: Path, tmp_path: Path) -> None:
    """One bit changed at 400 places, spread over contents and the zip's own records: never proven."""
    data, target = bundle.read_bytes(), tmp_path / "flipped.zip"
    for number in range(400):
        at = number * len(data) // 400
        target.write_bytes(data[:at] + bytes([data[at] ^ 1 << number % 8]) + data[at + 1 :])
        assert check(target, keyid(world)) == 3, at
    for cut in (data[:-1], data + b"x", b"x" + data, b""):
        target.write_bytes(cut)
        assert check(target, keyid(world)) == 3


def test_links_and_other_packers_zips_are_refused(world: World, bundle: Path, tmp_path: Path) -> None:
    """What is not a regular file has no digest; another program's zip can hide bytes between its files."""
    folder = unpack(bundle, tmp_path / "unpacked")
    again = Path(shutil.make_archive(str(tmp_path / "again"), "zip", folder.parent, folder.name))
    assert check(again, keyid(world)) == 3
    (folder / "README.txt").rename(tmp_path / "README.txt")
    (folder / "README.txt").symlink_to(tmp_path / "README.txt")
    assert check(folder, keyid(world)) == 3


def commands(folder: Path, world: World, program: Path) -> list[list[str]]:
    """Return the commands of README.txt, with the sender's key and the published program in their places."""
    lines = [line.split() for line in (folder / "README.txt").read_text().splitlines() if line.startswith(" " * 7)]
    places = {"python3": sys.executable, "KEY_ID": keyid(world), "verify.py": str(program)}
    return [[places.get(word, word) for word in line] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("forgery", ["", *forgeries("x")])
def test_each_line_of_the_readme_does_what_it_says(
    world: World, signed: RunDir, bundle: Path, tmp_path: Path, forgery: str
) -> None:
    """On a genuine bundle all succeed; the line that claims to find forgeries finds each, with the published program
    run from the unpacked bundle as a stranger would.
    """
    program = tmp_path / "verify.py"
    program.write_bytes(source())
    change = forgeries(signed.run_id).get(forgery, lambda files: None)
    folder = unpack(repack(unpack(bundle, tmp_path / "u"), tmp_path / "c.zip", change), tmp_path / "c")
    if forgery == "edit the README":
        folder = unpack(bundle, tmp_path / "genuine")
        lines = commands(folder, world, program)
        folder = next((tmp_path / "c").iterdir())
    else:
        lines = commands(folder, world, program)
    codes = [subprocess.run(line, cwd=folder, capture_output=True, check=False).returncode for line in lines]
    assert codes == ([0, 0] if not forgery else [3, 0])


def python(version: str) -> str | None:
    """Return a Python of this version: on the path, or among those that pyenv keeps beside its shims."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    candidates = [*map(str, kept), shutil.which(f"python{version}")]
    return next((found for found in candidates if found and _runs(found)), None)


def _runs(program: str) -> bool:
    return subprocess.run([program, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_verdicts_are_the_same_on_every_python(world: World, bundle: Path, tmp_path: Path, version: str) -> None:
    """Isolated, with no package installed; versions that are not on this machine are skipped."""
    found = python(version)
    if found is None:
        pytest.skip(f"there is no Python {version} here")
    program = tmp_path / "verify.py"
    program.write_bytes(source())
    for arguments, code in (([], 4), (["--key", keyid(world)], 0), (["--key", "0" * 64], 3)):
        command = [found, "-I", "-S", str(program), str(bundle), *arguments]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code


@pytest.mark.slow
def test_a_seal_as_long_as_any_can_be_is_proven(world: World, tmp_path: Path) -> None:
    """Its envelope, in base64, is longer by a third than the longest seal that is written: both programs read it."""
    room = LONGEST - world.run(warnings=("",)).manifest.stat().st_size
    run = world.run(warnings=("x" * room,))
    assert run.manifest.stat().st_size == LONGEST
    make_bundle(run, tmp_path / "long.zip", ledger=world.ledger, signer=world.signer)
    assert check(tmp_path / "long.zip", keyid(world)) == 0
    assert verify_bundle(tmp_path / "long.zip", trust=world.trust).ok


@pytest.mark.parametrize(
    ("nasty", "said"),
    [(b"1" * 3_000_000, "it cannot be read"), (b'"%s"' % (b"x" * 25_000_000), "it is too long to be read")],
    ids=["digits", "bytes"],
)
def test_a_seal_that_would_take_long_to_read_is_a_problem_at_once(
    world: World, signed: RunDir, bundle: Path, tmp_path: Path, nasty: bytes, said: str
) -> None:
    """Python 3.9 takes minutes for an integer of some million digits: whoever signs one keeps nobody waiting."""

    def change(files: dict[str, bytes]) -> None:
        data = files[f"{signed.run_id}/manifest.json"].replace(b'"error":null', b'"error":' + nasty)
        files[f"{signed.run_id}/manifest.json"] = data
        files[f"{signed.run_id}/manifest.dsse.json"] = make_envelope(data, STATEMENT, world.signer)
        listed_again(files, signed.run_id, world.signer)

    packed = repack(unpack(bundle, tmp_path / "u"), tmp_path / "nasty.zip", change)
    command = [python("3.9") or sys.executable, "-I", "-S", verify.__file__, str(packed), "--key", keyid(world)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=20)
    assert (done.returncode, f"manifest.json: {said}" in done.stdout) == (3, True)
    assert not verify_bundle(packed, trust=world.trust).ok
