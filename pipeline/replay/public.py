"""Choose what of a run may be public, by the rules of the public site, for a bundle that anybody may have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.digest import sha256_file
from pipeline.errors import UsageError
from pipeline.evidence.bundle import PUBLIC_REPORT, line_of
from pipeline.evidence.leaves import LEAVES, leaves_of
from pipeline.evidence.ledger_check import check_ledger
from pipeline.evidence.luggage import LeftOut, Luggage
from pipeline.evidence.unmasked import unmasked_files
from pipeline.layout import MANIFEST, SIGNATURE
from pipeline.replay.packing import LEDGER, PARTS, STRATEGIES, ledger_luggage
from pipeline.run import Run
from pipeline.settings import Settings
from pipeline.site.options import load_options
from pipeline.site.public_report import render_public
from pipeline.site.redaction import PRIVATE, RedactedRun, Redactor, make_redactor
from pipeline.site.run_page import relink

SEAL = "it names hosts, paths and packages"
HELD = "it holds a secret"
BARE_SIGNATURE = re.compile(r'"sig":"[A-Za-z0-9+/]{86}=="')  # of Ed25519, in base64, which may look like a path
REPORT = f"{PUBLIC_REPORT} was made in its place"
NO_REPORT = "it is the run's own, and none was made in its place"


def public_luggage(run: Run, settings: Settings, *, wanted: Sequence[str] | None = None) -> Luggage:
    """Return what a public bundle of a run holds: sealed files that may be public, and a report made anew.

    Nothing is changed in place: a file with a path, an address, a host, a user, a secret of this process, or a word of
    [public] in config/site.toml is left out, and so is one that [public] files does not list. `wanted` are `ledger` and
    `strategies`, None for the first if it can be had; UsageError for anything else. Raises RenderError when the report
    would show a word of [public].
    """
    if other := [part for part in wanted or () if part not in (LEDGER, STRATEGIES)]:
        raise UsageError(
            f"A public bundle takes no {other[0]} along: without the seal nobody could tell that the run was made from "
            f"it. Give --with {LEDGER}, {STRATEGIES} or none."
        )
    if run.manifest is None:
        return Luggage(shown=frozenset())  # what is not sealed is not bundled
    redactor = make_redactor(load_options(settings, public=True), settings)
    shown, left_out, held = [], [], unmasked_files(run.dir)
    for name in run.dir.sealed_paths():
        why = HELD if name in held else redactor.why_not(name, (run.dir.path / name).read_bytes())
        shown += [] if why else [name]
        left_out += [LeftOut(redactor.text(name), why, sha256_file(run.dir.path / name))] if why else []
    files = _report(run, redactor, settings, shown)
    left_out += _of_the_seal(run, redactor, REPORT if files else NO_REPORT)
    left_out += [LeftOut(part, "a public bundle holds none") for part in PARTS if part != LEDGER]
    luggage = ledger_luggage(run, (LEDGER,) if wanted is None else wanted, must=wanted is not None)
    return _of_the_ledger(
        run, redactor, replace(luggage, files=files, left_out=(*left_out, *luggage.left_out), shown=frozenset(shown))
    )


def _of_the_seal(run: Run, redactor: Redactor, report: str) -> Iterator[LeftOut]:
    for name in (MANIFEST, SIGNATURE):
        if (run.dir.path / name).is_file():
            yield LeftOut(name, SEAL, sha256_file(run.dir.path / name))
    for name in run.dir.report_paths():
        yield LeftOut(redactor.text(name), report, sha256_file(run.dir.path / name))


def _report(run: Run, redactor: Redactor, settings: Settings, shown: Sequence[str]) -> dict[str, bytes]:
    """Render the report anew, as the public site does: of a run that has one, and is no sweep."""
    if not run.dir.report.is_file() or run.is_sweep:
        return {}
    html = render_public(RedactedRun(run, redactor), redactor, settings)
    return {PUBLIC_REPORT: relink(html, shown, run.run_id).encode()}


def _of_the_ledger(run: Run, redactor: Redactor, luggage: Luggage) -> Luggage:
    """Leave out the seal's entry, scopes and leaves that hold what may not be public."""
    chain = check_ledger(run.dir.ledger)
    seal = chain.seal_of(run.run_id)
    if seal is None:
        return luggage

    def may(line: bytes) -> bool:
        text = BARE_SIGNATURE.sub("", line.decode("utf-8"))
        return redactor.text(text) == text

    if not may(line_of(chain, seal)):
        left_out = (*luggage.left_out, LeftOut(f"{LEDGER}/entry.json", PRIVATE), LeftOut(LEDGER, PRIVATE))
        return replace(luggage, entry=False, scopes=None, parts=(), left_out=left_out)
    if luggage.scopes is None:
        return luggage
    leaves = zip(leaves_of(chain, luggage.scopes).splitlines(), leaves_of(chain, ()).splitlines(), strict=True)
    told = [(may(whole), may(bare)) for whole, bare in leaves]
    if not all(bare for _, bare in told):
        return replace(luggage, scopes=None, parts=(), left_out=(*luggage.left_out, LeftOut(LEAVES, PRIVATE)))
    return replace(luggage, scopes=frozenset(seq for seq in luggage.scopes if told[seq][0]))
