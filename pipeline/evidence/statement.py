"""The report's statement: which bytes the report is, and which sealed run it was rendered from.

An in-toto Statement v1 with SLSA provenance v1, as the manifest is: the subjects are the files in `report/`, the
resolved dependency is the manifest. Written again with every render; signed when somebody signs.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline.digest import sha256_file
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.manifest import BUILDER, PREDICATE_TYPE, STATEMENT_TYPE, package_version
from pipeline.evidence.problem import Problem
from pipeline.evidence.strict_json import canonical, parse_canonical
from pipeline.evidence.trust import Trust
from pipeline.rundir import RunDir
from pipeline.running import write_aside

if TYPE_CHECKING:
    from pipeline.evidence.signer import Signer

REPORT_TYPE = "urn:evidence-chain:report:v1"


def write_report_statement(run: RunDir, signer: Signer | None) -> None:
    """Write `report/statement.dsse.json`, or `report/statement.json` without a signer.

    Call it after every render of the report of a sealed run.
    """
    payload = canonical(report_statement(run))
    if signer is None:
        write_aside(run, run.report_statement_unsigned, payload)
        run.report_statement.unlink(missing_ok=True)
        return
    write_aside(run, run.report_statement, make_envelope(payload, STATEMENT, signer))
    run.report_statement_unsigned.unlink(missing_ok=True)


def report_statement(run: RunDir) -> dict[str, Any]:
    """Describe the files in `report/` as they are now."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    manifest = {"name": run.manifest.name, "digest": {"sha256": sha256_file(run.manifest)}}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256_file(run.path / name)}} for name in views(run)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": REPORT_TYPE,
                "externalParameters": {"run_id": run.run_id},
                "resolvedDependencies": [manifest],
            },
            "runDetails": {
                "builder": {"id": BUILDER + "report", "version": {"evidence-chain": package_version()}},
                "metadata": {"finishedOn": now},
            },
        },
    }


def views(run: RunDir) -> list[str]:
    """Return the paths of the files in `report/` that a statement covers: all but itself."""
    own = {path.relative_to(run.path).as_posix() for path in (run.report_statement, run.report_statement_unsigned)}
    return [name for name in run.report_paths() if name not in own]


def check_report(run: RunDir, manifest_sha256: str, trust: Trust | None, notes: list[str]) -> Iterator[Problem]:
    """Compare `report/` with its statement, and the statement with the manifest and the trust file.

    A run without a report is fine: it is a view. One without a statement adds to `notes`.
    """
    present = views(run)
    path = run.report_statement if os.path.lexists(run.report_statement) else run.report_statement_unsigned
    if path.is_symlink() or path.parent.is_symlink():
        yield Problem(path.relative_to(run.path).as_posix(), "edited", "it is a symbolic link")
        return
    if not path.is_file():
        notes += ["the report has no statement: nothing says who rendered it"] if present else []
        if present:
            yield from _unsigned(run, path.relative_to(run.path).as_posix(), trust)
        return
    name = path.relative_to(run.path).as_posix()
    try:
        statement = _read(run, name, path.read_bytes())
        when = statement["predicate"]["runDetails"]["metadata"]["finishedOn"]
        sealed = digests_by_name(statement)
        source = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["sha256"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError) as error:
        yield Problem(name, "edited", f"it cannot be read as a statement ({error})")
        return
    yield from _signature(run, name, trust, when)
    if source != manifest_sha256:
        yield Problem(run.report.relative_to(run.path).as_posix(), "edited", "it was rendered from another manifest")
    yield from _contents(run, sealed, present)


def digests_by_name(statement: dict[str, Any]) -> dict[str, str]:
    """Return the subjects of a statement as name to SHA-256; raises ValueError, KeyError, TypeError."""
    found = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
    if len(found) != len(statement["subject"]) or not all(
        isinstance(text, str) for pair in found.items() for text in pair
    ):
        raise ValueError("its list of files is malformed")
    return found


def _read(run: RunDir, name: str, data: bytes) -> dict[str, Any]:
    payload = data if name.endswith(run.report_statement_unsigned.name) else read_envelope(data).payload
    statement: dict[str, Any] = parse_canonical(payload)
    definition = statement["predicate"]["buildDefinition"]
    if statement["_type"] != STATEMENT_TYPE or definition["buildType"] != REPORT_TYPE:
        raise ValueError("it is not a statement about a report")
    if definition["externalParameters"] != {"run_id": run.run_id}:
        raise ValueError("it is about the report of another run")
    return statement


def _signature(run: RunDir, name: str, trust: Trust | None, when: str) -> Iterator[Problem]:
    if not run.report_statement.is_file():
        yield from _unsigned(run, name, trust)
        return
    if trust is None:
        return
    for kind, message in trust.check(read_envelope(run.report_statement.read_bytes()), when):
        yield Problem(name, kind, message)


def _unsigned(run: RunDir, name: str, trust: Trust | None) -> Iterator[Problem]:
    """A signed run vouches for its numbers; without a signature of its own the page that shows them is anybody's."""
    if trust is not None and trust.demands:
        yield Problem(name, "unsigned", f"{trust.source} asks for a signature")
    elif trust is not None and run.signature.is_file():
        text = "the run is signed, its report is not: anybody can have made it (`evidence render` signs a new one)"
        yield Problem(name, "unsigned", text)


def _contents(run: RunDir, sealed: dict[str, str], present: list[str]) -> Iterator[Problem]:
    for name in sorted(set(sealed) | set(present)):
        path = run.path / name
        if name not in sealed:
            yield Problem(name, "added", "the report's statement does not list it")
        elif name not in present:
            yield Problem(name, "missing", "the report's statement lists it")
        elif path.is_symlink() or not path.is_file() or sha256_file(path) != sealed[name]:
            yield Problem(name, "edited", "it is not the file that was rendered")
    if run.report_statement.is_file() and run.report_statement_unsigned.exists():
        unsigned = run.report_statement_unsigned.relative_to(run.path).as_posix()
        yield Problem(unsigned, "added", "there is a signed statement already")
