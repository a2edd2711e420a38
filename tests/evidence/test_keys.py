"""Keys: private ones stay private, the trust file means what it says, rotation loses nothing."""

from __future__ import annotations

import base64
import datetime as dt
import stat
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import EvidenceError, UsageError
from pipeline.evidence import rotation
from pipeline.evidence.keys import create_key, key_path, load_signer, show_key, signer_pem
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.rotation import add_trusted_key, rotate_key
from pipeline.evidence.trust import TRUST_FILE, load_trust, project_trust
from pipeline.evidence.verify import verify_run
from pipeline.open_run import OpenRun
from pipeline.opening import data_inputs, open_run
from pipeline.settings import Settings
from pipeline.spec import RunSpec
from tests.evidence.sealed_runs import World, kinds, new_signer


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "secret" / "signing_key.pem"


def test_a_new_key_is_private_and_signs(key: Path) -> None:
    """Mode 0600 from its first byte, the public half beside it, and nobody is asked anything."""
    info = create_key(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    environ = {"EVIDENCE_KEY_FILE": str(key)}
    signer = load_signer(environ)
    assert signer is not None
    assert signer.public_key.keyid == info.keyid
    assert show_key(environ) == info
    with pytest.raises(UsageError, match="keys rotate"):
        create_key(key)


def test_no_key_means_unsigned_a_named_one_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing is a choice; but a key that was named and is not there is a mistake."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert key_path({}).is_relative_to(tmp_path)
    assert load_signer({}) is None
    with pytest.raises(UsageError, match="does not exist"):
        load_signer({"EVIDENCE_KEY_FILE": str(tmp_path / "none.pem")})
    with pytest.raises(UsageError, match="keys init"):
        show_key({})


def test_a_key_others_can_read_is_refused(key: Path) -> None:
    """A private key with the wrong mode is no longer private: it signs nothing until that is mended."""
    create_key(key)
    key.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        load_signer({"EVIDENCE_KEY_FILE": str(key)})


def test_a_passphrase_locks_the_key(key: Path) -> None:
    """From the environment, or asked for; without it, or with a wrong one, the message says what to do."""
    create_key(key, passphrase="correct horse")
    environ = {"EVIDENCE_KEY_FILE": str(key)}
    assert b"ENCRYPTED" in key.read_bytes()
    with pytest.raises(UsageError, match="EVIDENCE_KEY_PASSPHRASE"):
        load_signer(environ)
    with pytest.raises(UsageError, match="wrong passphrase"):
        load_signer(environ, prompt=lambda _: "wrong")
    assert load_signer(environ, prompt=lambda _: "correct horse") is not None
    assert load_signer(environ | {"EVIDENCE_KEY_PASSPHRASE": "correct horse"}) is not None
    assert show_key(environ).encrypted, "the public half needs no passphrase"


def test_a_key_in_the_environment(key: Path) -> None:
    """CI hands the key over as text; it wins over any file."""
    create_key(key)
    environ = {"EVIDENCE_KEY": key.read_text()}
    signer = load_signer(environ)
    assert signer is not None
    assert show_key(environ).keyid == signer.public_key.keyid
    assert show_key(environ).path is None


@pytest.mark.parametrize("text", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_a_usage_error(text: str) -> None:
    """Nothing is started with a key that cannot be read."""
    with pytest.raises(UsageError, match="not a PKCS8"):
        load_signer({"EVIDENCE_KEY": text or " "})


def test_another_kind_of_key_is_refused() -> None:
    """One algorithm: Ed25519."""
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()).decode()
    with pytest.raises(UsageError, match="Ed25519"):
        load_signer({"EVIDENCE_KEY": pem})


def test_a_private_key_is_never_made_inside_a_project(project: Settings) -> None:
    """What lies in a project gets committed, bundled or mailed."""
    with pytest.raises(UsageError, match="outside"):
        create_key(project.root / "config" / "key.pem")


PUBLIC = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="  # RFC 8032, section 7.1, test 1

SHORT = base64.b64encode(b"0" * 31).decode()


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_trust_file_holds_names_keys_and_times(tmp_path: Path) -> None:
    """Base64 or PEM, times with or without a clock and zone, the policy."""
    pem = signer_pem(new_signer())
    text = f"""
require_signatures = true
[[keys]]
name = "älice"
public_key = "{PUBLIC}"
valid_from = 2026-01-01
valid_to = "2027-01-01T00:00:00+02:00"
[[keys]]
name = "bob"
public_key = '''
{pem}'''
"""
    trust = load_trust(write(tmp_path / "trust.toml", text))
    assert trust.require_signatures
    assert [key.name for key in trust.keys] == ["älice", "bob"]
    alice = trust.keys[0]
    assert alice.problem_at("2026-06-01T00:00:00Z") is None
    assert "valid to" in (alice.problem_at("2026-12-31T22:00:01Z") or "")
    assert "valid from" in (alice.problem_at("2025-12-31T23:59:59.999999Z") or "")
    assert "not known" in (alice.problem_at(None) or "")
    assert trust.keys[1].problem_at(None) is None


BROKEN = {
    "not TOML": ("keys = [", "cannot be read"),
    "an unknown field": ("require_signature = true", "require_signatures"),
    "an unknown field of a key": (f'[[keys]]\nname="a"\npublic_key="{PUBLIC}"\nvalid_until=2026-01-01', "valid_to"),
    "no name": (f'[[keys]]\npublic_key="{PUBLIC}"', "name and public_key"),
    "no key": ('[[keys]]\nname="a"\npublic_key="AAAA"', "cannot be read"),
    "a key of 31 bytes": (f'[[keys]]\nname="a"\npublic_key="{SHORT}"', "cannot be read"),
    "another keyid": (f'[[keys]]\nname="a"\nkeyid="{"0" * 64}"\npublic_key="{PUBLIC}"', "does not belong"),
    "twice": (f'[[keys]]\nname="a"\npublic_key="{PUBLIC}"\n' * 2, "listed twice"),
    "no time": (f'[[keys]]\nname="a"\npublic_key="{PUBLIC}"\nvalid_to="soon"', "a time such as"),
    "a policy that is text": ('require_signatures = "yes"', "true or false"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_trust_file_that_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """A misspelled policy or a key that is none must not pass for trust."""
    with pytest.raises(UsageError, match=message):
        load_trust(write(tmp_path / "trust.toml", text))


def test_the_project_has_one_trust_file(project: Settings, tmp_path: Path) -> None:
    """`config/trusted_keys.toml` when it is there; a file that is given must be."""
    assert project_trust(project) is None
    add_trusted_key(project.root / "config" / "trusted_keys.toml", 'Al "Ice" \\ ö', PUBLIC)
    trust = project_trust(project)
    assert trust is not None
    assert trust.keys[0].name == 'Al "Ice" \\ ö'
    assert trust.require_signatures
    assert not trust.named
    with pytest.raises(UsageError, match="cannot be read"):
        project_trust(project, tmp_path / "none.toml")


def signer_in(project: Settings, *names: str) -> Any:
    """Return a new signer; the project's trust file names a key for each of `names`, not this one."""
    for name in names:
        add_trusted_key(project.root / TRUST_FILE, name, signer_pem(new_signer()))
    return new_signer()


def open_a_run(project: Settings, signer: Any) -> OpenRun:
    spec = RunSpec.from_mapping({"run": {"name": "x"}})
    return open_run(spec, project, origin="test", inputs=data_inputs(spec, project), signer=signer)


def test_a_key_that_the_trust_file_does_not_name_opens_no_run(project: Settings) -> None:
    """What it signs would not verify, and neither would the ledger: both are named before anything is written."""
    stranger = signer_in(project, "alice", "bob")
    with pytest.raises(UsageError, match=r"may not sign here: .*trusted_keys.toml names alice \(.*bob") as refused:
        open_a_run(project, stranger)
    assert stranger.public_key.keyid[:16] in str(refused.value)
    assert "keys init" in str(refused.value)
    assert not project.results.exists()
    add_trusted_key(project.root / TRUST_FILE, "carol", signer_pem(stranger))
    assert open_a_run(project, stranger).warnings == open_a_run(project, stranger).warnings


@pytest.mark.parametrize("bound", ["valid_to = 2020-01-01", "valid_from = 2999-01-01"])
def test_a_key_that_may_not_sign_now_opens_no_run(project: Settings, bound: str) -> None:
    """A key whose time is over, or has not come, would seal what does not verify."""
    signer = signer_in(project)
    add_trusted_key(project.root / TRUST_FILE, "alice", signer_pem(signer))
    with (project.root / TRUST_FILE).open("a", encoding="utf-8") as file:
        file.write(f"{bound}\n")
    with pytest.raises(UsageError, match=r"may not sign now.*alice"):
        open_a_run(project, signer)


def test_a_run_without_a_key_where_keys_are_named_says_so(project: Settings) -> None:
    """Under cron, or with another HOME, no key is found: the run's own warnings tell, the policy's weight with them."""
    assert not any("signing key" in text for text in open_a_run(project, None).warnings), "no trust file, no word"
    signer_in(project, "alice")
    told = [text for text in open_a_run(project, None).warnings if "No signing key was found" in text]
    assert len(told) == 1
    assert "names alice (" in told[0]
    assert str(key_path()) in told[0]
    file = project.root / TRUST_FILE
    write(file, file.read_text().replace("\nrequire_signatures = false", "\nrequire_signatures = true"))
    assert any("this will not verify" in text for text in open_a_run(project, None).warnings)


def test_rotation_asks_that_the_old_key_is_trusted(tmp_path: Path, key: Path) -> None:
    """Its entry would be an unknown key's; without a trust file there is one afterwards, with both keys."""
    old = create_key(key)
    world = World(tmp_path / "results", load_signer({"EVIDENCE_KEY_FILE": str(key)}))
    before = world.run()
    add_trusted_key(tmp_path / "others.toml", "bob", signer_pem(new_signer()))
    with pytest.raises(UsageError, match="does not name the key in use"):
        rotated(world, key, tmp_path / "others.toml")
    rotated(world, key, tmp_path / "trust.toml")
    trust = load_trust(tmp_path / "trust.toml")
    assert [known.keyid for known in trust.keys] == [old.keyid, show_key({"EVIDENCE_KEY_FILE": str(key)}).keyid]
    assert verify_run(before, trust=trust, ledger=world.ledger).ok


def rotated(world: World, key: Path, trust_file: Path) -> rotation.Rotation:
    return rotate_key(trust_file, world.ledger, environ={"EVIDENCE_KEY_FILE": str(key)})


def test_rotation_keeps_what_was_signed(tmp_path: Path, key: Path) -> None:
    """Old runs verify, new ones are signed by the new key, the ledger has the old key's word for the new one."""
    trust_file = tmp_path / "trusted_keys.toml"
    old = create_key(key)
    add_trusted_key(trust_file, "alice", old.public_pem)
    world = World(tmp_path / "results", load_signer({"EVIDENCE_KEY_FILE": str(key)}))
    before = world.run()
    write(trust_file, trust_file.read_text() + "\n# a comment that stays\n")
    done = rotated(world, key, trust_file)
    assert "# a comment that stays" in trust_file.read_text()
    after_world = World(world.results, load_signer({"EVIDENCE_KEY_FILE": str(key)}))
    after, trust = after_world.run(), load_trust(trust_file)
    assert done.new.keyid == show_key({"EVIDENCE_KEY_FILE": str(key)}).keyid != old.keyid
    assert done.entry.signer == old.keyid
    assert check_ledger(world.ledger, trust=trust).ok
    # The manifests of these tests say 2026-01-01; the new key is valid from now on.
    assert kinds(verify_run(after, trust=trust, report=False).problems) == [("manifest.dsse.json", "expired key")]
    assert verify_run(before, trust=trust).ok
    late = World(world.results, world.signer).run()
    assert ("ledger.jsonl", "expired key") in kinds(verify_run(late, trust=trust, ledger=world.ledger).problems)
    assert stat.S_IMODE(done.retired.stat().st_mode) == 0o600


@pytest.mark.parametrize("line", ["[[keys]]\n", 'public_key = "'])
def test_rotation_ends_a_key_that_was_valid_for_longer(tmp_path: Path, key: Path, line: str) -> None:
    """An end that the trust file sets later is replaced, wherever it stands in the key's table; other keys' stay."""
    trust_file = tmp_path / "trusted_keys.toml"
    old = add_trusted_key(trust_file, "alice", create_key(key).public_pem)
    added = "valid_to  = 2999-01-01 # a long time\n"
    given = trust_file.read_text()
    write(trust_file, given.replace(line, line + added if line.endswith("\n") else added + line))
    bob = add_trusted_key(trust_file, "bob", create_key(tmp_path / "b" / "key.pem").public_pem)
    write(trust_file, f"{trust_file.read_text()}valid_to = 2998-01-01\n")
    done = rotated(World(tmp_path / "results", None), key, trust_file)
    ends = {known.keyid: known.valid_to for known in load_trust(trust_file).keys}
    assert ends == {
        old: dt.datetime.fromisoformat(done.entry.time),
        bob: dt.datetime(2998, 1, 1, tzinfo=dt.UTC),
        done.new.keyid: None,
    }


@pytest.mark.parametrize("broken", ["append", "replace_trusted_key", "public_path"])
def test_an_interrupted_rotation_is_finished_by_the_next(
    tmp_path: Path, key: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at any step, there is a key that works, and asking again gets to the end with the same new key."""
    trust_file = tmp_path / "trusted_keys.toml"
    add_trusted_key(trust_file, "alice", create_key(key).public_pem)
    world = World(tmp_path / "results", None)

    def fail(*_: object, **__: object) -> None:
        raise EvidenceError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(rotation, broken, fail)
        with pytest.raises(EvidenceError, match="stopped"):
            rotated(world, key, trust_file)
    assert load_signer({"EVIDENCE_KEY_FILE": str(key)}) is not None
    rotated(world, key, trust_file)
    trust = load_trust(trust_file)
    assert trust.find(show_key({"EVIDENCE_KEY_FILE": str(key)}).keyid) is not None
    assert check_ledger(world.ledger, trust=trust).ok
