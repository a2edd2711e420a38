"""The commands `keys`, and how a key is unlocked."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import AsJson, OutputFile, example

if TYPE_CHECKING:
    from pipeline.evidence.keys import Prompt
    from pipeline.evidence.signer import Signer
    from pipeline.settings import Settings

keys = typer.Typer(
    no_args_is_help=True,
    help="Signing keys and the trust file.",
    epilog=example("evidence keys init --name alice"),
    rich_markup_mode=None,
)


Passphrase = Annotated[
    bool | None,
    typer.Option(
        "--passphrase/--no-passphrase",
        help="Lock the key with EVIDENCE_KEY_PASSPHRASE, else with what is typed; default: lock it when that is set.",
    ),
]


@keys.command(epilog=example("evidence keys init --name alice --passphrase"))
def init(
    name: Annotated[str, typer.Option(help="Who you are, in the trust file.")] = "",
    passphrase: Passphrase = None,
    add: Annotated[bool, typer.Option(help="Add the public key to config/trusted_keys.toml.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make a signing key, outside of the project; from then on every run is signed.

    A key that is there already, from another project, is added to this project's trust file.
    """
    from pipeline.cli import output
    from pipeline.evidence.keys import create_key, key_path, show_key
    from pipeline.evidence.ledger import head
    from pipeline.evidence.rotation import add_trusted_key
    from pipeline.evidence.trust import TRUST_FILE, project_trust
    from pipeline.rundir import LEDGER
    from pipeline.settings import Settings

    settings = Settings.load()
    trust_file, trust = settings.root / TRUST_FILE, project_trust(settings)
    info = show_key(prompt=ask) if add and key_path().is_file() else None
    if info is None or passphrase or (trust is not None and trust.find(info.keyid) is not None):
        info = create_key(key_path(), passphrase=_new_passphrase(wanted=passphrase))
    if add:
        # A project that has unsigned runs would have none that verifies if signatures were asked for.
        add_trusted_key(trust_file, name or _user(), info.public_pem, require=head(settings.results / LEDGER) is None)
    required = project_trust(settings)
    facts = {
        "keyid": info.keyid,
        "private_key": str(info.path),
        "passphrase": info.encrypted,
        "trust_file": str(trust_file) if add else None,
        "require_signatures": required.require_signatures if required else None,
    }
    output.print_facts(facts, as_json=as_json)


@keys.command("show", epilog=example("evidence keys show --json"))
def show_key_(as_json: AsJson = False) -> None:
    """Show which key signs, and whether the project trusts it."""
    from pipeline.cli import output
    from pipeline.evidence.keys import show_key
    from pipeline.evidence.trust import project_trust
    from pipeline.settings import Settings

    info = show_key(prompt=ask)
    trust = project_trust(Settings.load())
    known = trust.find(info.keyid) if trust else None
    facts = {
        "keyid": info.keyid,
        "private_key": str(info.path) if info.path else "from the environment",
        "passphrase": info.encrypted,
        "trusted_as": known.name if known else None,
    }
    output.print_facts(facts, as_json=as_json)


@keys.command(epilog=example("evidence keys export --output alice.pem"))
def export(to: OutputFile = None, as_json: AsJson = False) -> None:
    """Print the public key (PEM), for somebody else's trust file."""
    from pipeline.cli import output
    from pipeline.evidence.keys import show_key
    from pipeline.files import write_atomic

    info = show_key(prompt=ask)
    if to is not None:
        write_atomic(to, info.public_pem.encode())
    facts = {"keyid": info.keyid, "public_key": info.public_pem}
    output.print_text(info.public_pem.rstrip("\n"), facts, to=to, as_json=as_json)


@keys.command(epilog=example("evidence keys rotate"))
def rotate(
    passphrase: Passphrase = None,
    as_json: AsJson = False,
) -> None:
    """Replace the signing key: ledger and trust file say from when; older signatures stay valid."""
    from pipeline.cli import output
    from pipeline.evidence.rotation import rotate_key
    from pipeline.evidence.trust import TRUST_FILE
    from pipeline.rundir import LEDGER
    from pipeline.settings import Settings

    settings = Settings.load()
    done = rotate_key(
        settings.root / TRUST_FILE,
        settings.results / LEDGER,
        passphrase=_new_passphrase(wanted=passphrase),
        prompt=ask,
    )
    facts = {"old_keyid": done.old_keyid, "keyid": done.new.keyid, "kept": str(done.retired), "entry": done.entry.seq}
    output.print_facts(facts, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(keys, name="keys")


def signing_key() -> Signer | None:
    """Return what signs; a passphrase is asked for when there is somebody to ask."""
    from pipeline.evidence.keys import load_signer

    return load_signer(prompt=asker())


def asker() -> Prompt | None:
    """Return what asks for a passphrase; None when there is nobody to ask."""
    return ask if sys.stdin is not None and sys.stdin.isatty() else None


def project_key(settings: Settings) -> Signer | None:
    """Return what signs in a project, its passphrase asked for; see `checked`."""
    from pipeline.evidence.keys import load_signer

    return checked(load_signer(prompt=ask), settings)


def checked(signer: Signer | None, settings: Settings) -> Signer | None:
    """Return the signer, with a warning when there is none although the project's trust file names keys.

    Raises UsageError for a key that the trust file does not allow.
    """
    from pipeline.cli import output
    from pipeline.evidence.keys import check_signer

    output.warn(check_signer(signer, settings))
    return signer


def ask(question: str) -> str:
    """Ask for a passphrase, which is not shown."""
    return _asked(question.rstrip(": "), again=False)


def _new_passphrase(*, wanted: bool | None) -> str | None:
    """Return what locks a new key: what the environment says, or what is asked for; None leaves it unlocked."""
    from pipeline.evidence.keys import PASSPHRASE

    if wanted is False:
        return None
    return os.environ.get(PASSPHRASE) or (_asked("New passphrase", again=True) if wanted else None)


def _asked(question: str, *, again: bool) -> str:
    import warnings
    from getpass import GetPassWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GetPassWarning)  # without a terminal it is read from standard input
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=again, err=True))


def _user() -> str:
    import getpass

    return getpass.getuser()
