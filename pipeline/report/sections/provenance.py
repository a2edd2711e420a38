"""Where a run comes from: inputs, code, configuration, environment, artifacts, warnings, and how to check them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.escape import html_lines, web_url
from pipeline.masking import masked
from pipeline.objects import flat
from pipeline.report.blocks import Blocks, Cell, Column, definitions, folded, markup, table, text
from pipeline.report.markup import NOTHING, Html, code, html, link, mark, together
from pipeline.report.numbers import DASH, format_bytes, format_seconds
from pipeline.report.sections.data import warnings_list
from pipeline.report.sections.summary import plain, seal_mark, status_mark
from pipeline.report.sections.timeline import timeline
from pipeline.tracking.uri import artifact_url

if TYPE_CHECKING:
    from pipeline.report.facts import Facts
    from pipeline.run_record import GitCommit, ReadInput, Source


MOST_INPUTS = 20  # named one by one


def provenance(facts: Facts) -> Blocks:
    """Return the facts that identify the run and everything it was made from."""
    record = facts.record
    rows: list[tuple[str, Cell]] = [
        ("Run", code(facts.run.run_id)),
        ("Status", status_mark(facts.run.status)),
        ("Seal", together([seal_mark(facts), _seal_text(facts)], " ")),
        ("Manifest SHA-256", _digest(facts.run.manifest_digest)),
        ("Signature", _signature(facts)),
        ("MLflow run", _tracking(facts)),
        ("Code", _git(record.git)),
        ("Data", _source(record.data)),
        *((("Benchmark", _source(record.benchmark)),) if record.benchmark else ()),
        *(("Input" if item.found == "declared" else "Read", _read(item)) for item in record.inputs[:MOST_INPUTS]),
        *(
            (("Inputs", f"and {more} more: debug/inputs.json"),)
            if (more := len(record.inputs) - MOST_INPUTS) > 0
            else ()
        ),
        ("Notebook", _source(record.notebook)),
        ("Made by", record.origin or DASH),
        ("Started", _time(record.started_at)),
        ("Finished", _time(record.finished_at)),
        ("Time by stage", _stages(record.stages)),
    ]
    return definitions("What this run is and what it was made from", rows) + timeline(facts)


def how_to_verify(facts: Facts) -> Blocks:
    """Return the commands that check the run, execute it again from its recorded inputs, and render this report."""
    run_id = facts.run.run_id
    verbs = ["verify", *(["replay"] if facts.run.dir.notebook.is_file() else []), "render"]
    return command("\n".join(f"evidence {verb} {run_id}" for verb in verbs), "Commands")


def command(lines: str, label: str) -> Blocks:
    """Return lines to be copied into a shell or a program, with a button that does."""
    shown = html(
        '<div class="command"><button type="button" class="copy" hidden>Copy</button>'
        '<pre tabindex="0" role="region" aria-label="{label}"><code>{lines}</code></pre></div>',
        label=label,
        lines=Html(html_lines(lines)),
    )
    return markup(shown)


def configuration(facts: Facts, secret: str | None = None) -> Blocks:
    """Return the run spec, one value a row, overridden ones marked; what is `secret` in it with its password masked."""
    if not facts.run.config:
        return facts.missing("This run left no configuration (`config_snapshot.json`).")
    overridden = set(facts.record.overrides)
    rows: list[list[Cell]] = [
        [code(key), _setting(_shown(value, secret), key in overridden)] for key, value in flat(facts.run.config)
    ]
    return table("The run spec, defaults resolved", [Column("Setting"), Column("Value")], rows, name="facts")


def environment(facts: Facts) -> Blocks:
    """Return interpreter, platform, lock files; packages and modules folded away."""
    record = facts.record
    if not (record.python or record.packages or record.modules):
        return facts.missing("This run left no record of its environment.")
    rows: list[tuple[str, Cell]] = [
        ("Python", record.python or DASH),
        ("Platform", record.platform or DASH),
        ("Seed", DASH if record.seed is None else str(record.seed)),
        *((f"Lock file {name}", _digest(digest)) for name, digest in sorted(record.locks.items())),
    ]
    packages = _folded("Installed packages", ("Package", "Version"), record.packages)
    modules = _folded("Project modules that were imported", ("Module", "SHA-256"), record.modules)
    return definitions("Where the run was executed", rows) + packages + modules


def artifacts(facts: Facts) -> Blocks:
    """Return the sealed files with size, digest, a relative link, and one into MLflow when the run is there."""
    if not facts.run.artifacts:
        return text("This run was not sealed, so no artifact has a digest.")
    columns = [Column("File"), Column("Size", numeric=True), Column("SHA-256")]
    rows: list[list[Cell]] = [
        [link(item.path, facts.address(item.path)), format_bytes(item.size), _digest(item.sha256)]
        for item in facts.run.artifacts
    ]
    tracked = None if facts.run.tracking is None else facts.run.tracking.run_url
    if web_url(tracked):
        columns.append(Column("MLflow"))
        for row, item in zip(rows, facts.run.artifacts, strict=True):
            row.append(link("open", web_url(artifact_url(tracked, item.path))))
    return table(
        "Sealed files" + ("; links work beside the run directory" if facts.linked else ""), columns, rows, name="files"
    )


def warnings(facts: Facts) -> Blocks:
    """Return the warnings of the run as a list."""
    if not facts.record.warnings:
        return facts.missing("This run recorded no warnings.")
    return warnings_list(facts.record.warnings)


def _seal_text(facts: Facts) -> str | Html:
    if facts.run.manifest_digest is None:
        return ""
    found = facts.verification
    if found.ok:
        return f"All {found.files} files matched their digests when this report was made."
    items = together(html("<li>{problem}</li>", problem=problem) for problem in found.problems)
    return html("The run directory differed from its seal when this report was made:<ul>{items}</ul>", items=items)


def _signature(facts: Facts) -> Cell:
    """Say who signed the manifest, as far as verification could tell without a trust file."""
    if facts.run.manifest_digest is None:
        return DASH
    if not facts.run.dir.signature.is_file():
        return "not signed"
    said = "; ".join(note for note in facts.verification.notes if "signed" in note)
    return said or f"signed by {facts.verification.signer or 'a key that cannot be read'}"


def _tracking(facts: Facts) -> Cell:
    tracking = facts.run.tracking
    if tracking is None or not tracking.mlflow_run_id:
        return "not tracked"
    url = web_url(tracking.run_url)
    shown = link(tracking.mlflow_run_id, url)
    where = html(" in experiment {name}", name=tracking.experiment_name) if tracking.experiment_name else NOTHING
    here = url and "://127.0.0.1" in url
    local = html(" (the link opens while <code>evidence ui</code> is running)") if here else NOTHING
    return together([html('<span class="id">{shown}</span>', shown=shown), where, local])


def _git(git: GitCommit | None) -> Cell:
    if git is None:
        return "not in a git work tree: the code's version is not recorded"
    state = "with uncommitted changes" if git.dirty else "clean"
    shown = mark("killed" if git.dirty else "finished", state)
    return html("commit {commit} {shown}", commit=code(git.commit), shown=shown)


def _source(source: Source | None) -> Cell:
    if source is None:
        return DASH
    return html("{uri}<br>{digest}", uri=code(source.uri), digest=_digest(source.sha256))


def _read(item: ReadInput) -> Cell:
    """Return one thing that the run read: a file, a frame, or a host, which cannot be read again."""
    name, host = item.uri, item.uri.removeprefix("network:")
    if host != name:
        return html("{host}<br>from the network: no digest says what it was", host=code(host))
    called = html(" ({name})", name=item.input) if item.input else NOTHING
    known = _digest(item.sha256) if item.sha256 else "changed before it could be digested"
    return html("{name}{called}<br>{known}", name=code(name), called=called, known=known)


def _digest(digest: str | None) -> Html:
    return html('<code class="digest">{digest}</code>', digest=digest) if digest else html(DASH)


def _time(text: str | None) -> str:
    """Return ISO-8601 UTC text to the second, for people."""
    return f"{text[:19].replace('T', ' ')} UTC" if text and text.endswith("Z") else text or DASH


def _stages(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {format_seconds(seconds)}" for name, seconds in stages.items()) or DASH


def _shown(value: object, secret: str | None) -> str:
    shown = DASH if value is None or value == {} else plain(value)
    return shown.replace(secret, masked(secret)) if secret else shown


def _setting(value: str, overridden: bool) -> Html:  # noqa: FBT001 - a fact about the value
    note = html(' <span class="note">(override)</span>') if overridden else NOTHING
    return together([code(value), note])


def _folded(title: str, heads: tuple[str, str], values: Mapping[str, str]) -> Blocks:
    if not values:
        return ()
    rows: list[list[Cell]] = [[key, _digest(value)] for key, value in sorted(values.items())]
    return folded(title, table(title, map(Column, heads), rows, name="facts tall"))
