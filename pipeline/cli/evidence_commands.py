"""The commands `ledger`, `bundle` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.key_commands import project_key
from pipeline.cli.options import LAST, AsJson, OutputFile, RunId, RunOrAll, TrustFile, example, one_or_all
from pipeline.cli.plain import say
from pipeline.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from pipeline.evidence.ledger import Checkpoint
    from pipeline.evidence.problem import Verification
    from pipeline.settings import Settings

ledger = typer.Typer(
    no_args_is_help=True,
    help="The chained record of what happened in the results directory.",
    epilog=example("evidence ledger check"),
    rich_markup_mode=None,
)

CheckpointText = Annotated[
    str | None,
    typer.Option("--checkpoint", metavar="SEQ:SHA256", help="One printed earlier, or a file that holds it."),
]

ARCHIVE = ".zip.xz"  # how the name of a run's archive ends
CONSISTENT = 4  # exit code of what was sent and holds together, signed by nobody that --trust names


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.add_typer(ledger, name="ledger")
    app.command(epilog=example("evidence bundle last --output run.zip"))(bundle)
    app.command(epilog=example("evidence verify last"))(verify)


def verify(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN_ID|BUNDLE.zip",
            help="A run_id, the start of one, `last`, a bundle or an archive; default: `last`.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Verify the ledger and all runs.")] = False,
    path: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="A run directory or an unpacked bundle, anywhere."
        ),
    ] = None,
    trust: TrustFile = None,
    checkpoint: CheckpointText = None,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Also compare tags and artifacts of the tracked runs, where reachable.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check seals, signatures, reports and the ledger.

    Every file that is not what it was is named, and how; the exit code is then 3. A bundle, or a directory given with
    --path, that no key of --trust signed is consistent at best, and the exit code 4.
    """
    from pipeline.cli.evidence_output import print_verifications
    from pipeline.settings import Settings

    if sum((bool(run_id), every, path is not None)) > 1:
        raise UsageError("Give one of: a RUN_ID, a bundle, --all, --path DIR.")
    known = _checkpoint(checkpoint)
    wanted = one_or_all(run_id, every=every)
    if path is not None or (wanted is not None and wanted.endswith((".zip", ARCHIVE))):
        found = [_verify_sent(path, Path(wanted or ""), trust, known)]
    else:
        found = _verify_own(Settings.load(), wanted, trust, known)
        found = [_with_tracked(item, Settings.load()) for item in found] if mlflow else found
    print_verifications(found, as_json=as_json)
    if not all(verification.ok for verification in found):
        raise typer.Exit(VerificationError.exit_code)
    if any(verification.verdict == "consistent" for verification in found):
        raise typer.Exit(CONSISTENT)


def _verify_sent(
    path: Path | None, bundle_file: Path, trust_file: Path | None, checkpoint: Checkpoint | None
) -> Verification:
    """Verify what came from elsewhere: this project's trust file says nothing about it unless it is named."""
    from pipeline.evidence.trust import load_trust
    from pipeline.evidence.unbundle import verify_bundle, verify_path

    trust = load_trust(trust_file, named=True) if trust_file else None
    if path is not None:
        return verify_path(path, trust=trust, checkpoint=checkpoint)
    if not bundle_file.is_file():
        raise UsageError(f"The bundle {bundle_file} does not exist.")
    if bundle_file.name.endswith(ARCHIVE):
        from pipeline.retention.archive import unpacked

        with unpacked(bundle_file) as bundle:
            return verify_bundle(bundle, trust=trust, checkpoint=checkpoint)
    return verify_bundle(bundle_file, trust=trust, checkpoint=checkpoint)


def _with_tracked(verification: Verification, settings: Settings) -> Verification:
    """Add what a comparison with MLflow finds to the verification of a run that is whole."""
    from dataclasses import replace

    from pipeline.rundir import RUN_ID, RunDir
    from pipeline.tracking.check import check_tracked

    if not verification.ok or not RUN_ID.fullmatch(verification.run_id):
        return verification
    problems, notes = check_tracked(RunDir(settings.results, verification.run_id), settings)
    return replace(
        verification,
        problems=(*verification.problems, *problems),
        notes=(*verification.notes, *notes),
    )


def _verify_own(
    settings: Settings, run_id: str | None, trust_file: Path | None, checkpoint: Checkpoint | None
) -> list[Verification]:
    from pipeline.evidence.trust import project_trust
    from pipeline.evidence.verify import verify_run
    from pipeline.evidence.verify_all import verify_all, verify_ledger
    from pipeline.run import load_run

    trust = project_trust(settings, trust_file)
    _finish_removals(settings)
    if run_id is None:
        return list(verify_all(settings.results, trust=trust, checkpoint=checkpoint))
    run = load_run(run_id, settings=settings)
    chain, verification = verify_ledger(settings.results, trust=trust, checkpoint=checkpoint, signatures=False)
    own = verify_run(run.dir, trust=trust, ledger=chain)
    return [own] if verification.ok else [verification, own]


def _finish_removals(settings: Settings) -> None:
    """Finish what a killed `prune` or `restore` began; where that cannot be done, say so, and verify what is there."""
    from pipeline.cli import output
    from pipeline.errors import EvidenceError
    from pipeline.rundir import PRUNING_DIR

    if not (settings.results / PRUNING_DIR).is_dir():
        return
    from pipeline.retention.prune import resume

    try:
        output.print_warnings(resume(settings).warnings)
    except EvidenceError as error:
        output.warn(f"a removal that was begun is not finished: {error}")


@ledger.command(epilog=example("evidence ledger check --checkpoint checkpoint.txt"))
def check(
    trust: TrustFile = None,
    checkpoint: CheckpointText = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--tsa", metavar="FILE", exists=True, help="Certificate of the time-stamp authority, PEM."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the whole ledger: edits, gaps, insertions, order, signatures, anchors; a checkpoint shows a roll-back."""
    from pipeline.cli.evidence_output import print_verifications
    from pipeline.evidence.timestamp import AnchorVerifier, OpensslVerifier
    from pipeline.evidence.trust import project_trust
    from pipeline.evidence.verify_all import verify_ledger
    from pipeline.settings import Settings

    settings = Settings.load()
    anchors: dict[str, AnchorVerifier] = {".tsr": OpensslVerifier(certificate)} if certificate else {}
    known = _checkpoint(checkpoint)
    chain, found = verify_ledger(
        settings.results, trust=project_trust(settings, trust), checkpoint=known, anchors=anchors
    )
    print_verifications([found], as_json=as_json)
    if not as_json and chain.head:
        say(f"checkpoint {chain.head}")
    if not found.ok:
        raise typer.Exit(VerificationError.exit_code)


@ledger.command("checkpoint", epilog=example("evidence ledger checkpoint --output checkpoint.txt"))
def print_checkpoint(to: OutputFile = None, as_json: AsJson = False) -> None:
    """Print a checkpoint, to be kept elsewhere: SEQ:SHA256, number and digest of the ledger's last entry.

    The first entry has the number 0, so a ledger of eight entries ends with number 7.
    """
    from pipeline.cli import output
    from pipeline.evidence.ledger import head
    from pipeline.evidence.timestamp import checkpoint_bytes
    from pipeline.files import write_atomic
    from pipeline.rundir import LEDGER
    from pipeline.settings import Settings

    found = head(Settings.load().results / LEDGER)
    if found is None:
        raise UsageError("The ledger is empty: there is no checkpoint yet.")
    if to is not None:
        write_atomic(to, checkpoint_bytes(found))
    facts = {"checkpoint": str(found), "seq": found.seq, "sha256": found.digest}
    output.print_text(str(found), facts, to=to, as_json=as_json)


@ledger.command("repair", epilog=example("evidence ledger repair"))
def repair_(as_json: AsJson = False) -> None:
    """Move an unfinished last line, left by a killed process, to a file beside the ledger."""
    from pipeline.cli import output
    from pipeline.evidence.ledger import repair
    from pipeline.rundir import LEDGER
    from pipeline.settings import Settings

    settings = Settings.load()
    entry = repair(settings.results / LEDGER, project_key(settings))
    facts = {"repaired": entry is not None, **(entry.event.details if entry else {})}
    output.print_facts(facts, as_json=as_json)


@ledger.command(epilog=example("evidence ledger adopt --all"))
def adopt(
    run_id: RunOrAll = None,
    every: Annotated[bool, typer.Option("--all", help="Every sealed run the ledger does not know.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add runs that were sealed without an entry; the ledger says that they were adopted, and when."""
    from pipeline.cli.evidence_output import print_adopted
    from pipeline.evidence.events import adopt_run
    from pipeline.evidence.ledger_check import check_ledger
    from pipeline.run import all_runs, load_run
    from pipeline.settings import Settings

    wanted = one_or_all(run_id, every=every)
    settings = Settings.load()
    signer = project_key(settings)
    if wanted is None:
        runs = [run for run in all_runs(settings=settings) if run.manifest_digest]
    else:
        runs = [load_run(wanted, settings=settings)]
    known = check_ledger(runs[0].dir.ledger) if runs else None
    adopted = {run.run_id: adopt_run(run.dir, signer, ledger=known) is not None for run in runs}
    print_adopted(adopted, as_json=as_json)


@ledger.command(epilog=example("evidence ledger trials last"))
def trials(
    run_id: RunId = LAST,
    as_json: AsJson = False,
) -> None:
    """Count the trials of a run's family as far as that run, failed and killed ones too; and exact ones, and all."""
    from pipeline.cli import output
    from pipeline.evidence.events import asked
    from pipeline.report.trials import count_trials
    from pipeline.run import load_run

    run = load_run(run_id)
    event = asked(run.dir)
    found = count_trials(run)
    if found.problem:
        raise VerificationError(f"The trials of {run.run_id} cannot be counted: {found.problem}.")
    facts = {
        "strategy": event.strategy,
        "data_sha256": event.data_sha256,
        "family": found.scope.family,
        "instruments": list(found.scope.instruments),
        "first": found.scope.first,
        "last": found.scope.last,
        "trials": found.family,
        "trials_exact": found.exact,
        "trials_in_ledger": found.ledger,
        "directories_there": found.there,
        "results_unknown": found.unknown,
    }
    output.print_facts(facts, as_json=as_json)


@ledger.command(epilog=example("evidence ledger anchor token.tsr --checkpoint checkpoint.txt"))
def anchor(
    token: Annotated[Path, typer.Argument(metavar="TOKEN", exists=True, dir_okay=False, help="A .tsr or .ots file.")],
    checkpoint: Annotated[
        str,
        typer.Option("--checkpoint", metavar="SEQ:SHA256", help="What the token is about, or a file that holds it."),
    ],
    as_json: AsJson = False,
) -> None:
    """Attach a time stamp that was made elsewhere over a checkpoint's file."""
    from pipeline.cli import output
    from pipeline.evidence.timestamp import attach_anchor
    from pipeline.rundir import LEDGER
    from pipeline.settings import Settings

    known = _checkpoint(checkpoint)
    assert known is not None  # noqa: S101 - the option is required
    settings = Settings.load()
    entry = attach_anchor(settings.results / LEDGER, known, token, project_key(settings))
    output.print_facts({"entry": entry.seq, **entry.event.details}, as_json=as_json)


def bundle(
    run_id: RunId = LAST,
    to: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Default: evidence-RUN_ID.zip, or evidence-RUN_ID-public.zip."
        ),
    ] = None,
    along: Annotated[
        str | None,
        typer.Option(
            "--with",
            metavar="PARTS",
            help="Some of ledger,notebook,code,inputs,strategies, or none; default: up to 64 MiB.",
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="Leave out the seal, and files with paths, hosts and users, as the public site does."
        ),
    ] = False,
    trust: TrustFile = None,
    as_json: AsJson = False,
) -> None:
    """Pack a run with its report, signatures, public key and ledger proof, for somebody who has none of this.

    With its inputs, the code it imported and its notebook, `evidence replay` executes it again from the bundle alone.
    With --public nothing is edited: a file is in it as it was sealed, or left out and listed with its SHA-256.
    """
    from contextlib import nullcontext

    from pipeline.cli import output
    from pipeline.evidence.bundle import make_bundle
    from pipeline.evidence.trust import project_trust
    from pipeline.replay.packing import gathered, read_parts
    from pipeline.replay.public import public_luggage
    from pipeline.run import load_run
    from pipeline.settings import Settings

    settings, wanted = Settings.load(), read_parts(along)
    run = load_run(run_id, settings=settings)
    target = to or Path(f"evidence-{run.run_id}{'-public' * public}.zip")
    signer, allowed = project_key(settings), project_trust(settings, trust)
    gathering = nullcontext(public_luggage(run, settings, wanted=wanted)) if public else None
    with gathering or gathered(run, settings, wanted=wanted) as luggage:
        info = make_bundle(run.dir, target, ledger=run.dir.ledger, signer=signer, trust=allowed, luggage=luggage)
    if not public:
        output.print_unmasked(run.dir, "whoever gets the bundle can read it; --public leaves them out")
    facts = {"bundle": str(info.path), "sha256": info.sha256, "bytes": info.size, "files": info.files}
    left_out = [f"{item.name} ({item.why})" for item in luggage.left_out]
    facts |= {"signed": info.signed, "with": list(luggage.parts), "left_out": left_out}
    output.print_facts(facts, as_json=as_json)


def _checkpoint(text: str | None) -> Checkpoint | None:
    from pipeline.evidence.ledger import Checkpoint

    if text is None:
        return None
    path = Path(text)
    if ":" not in text and path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
    return Checkpoint.parse(text)
