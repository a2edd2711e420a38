"""How reports are to be made, and why a report would come out different now."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.digest import sha256_file
from pipeline.errors import UsageError, nearest
from pipeline.report.record import RenderRecord, assets_digest, read_record
from pipeline.report.render import Sources, find_sources, tracked_url
from pipeline.report.renderer import Renderer
from pipeline.report.renderers import AUTO, choose_renderer
from pipeline.report.section_files import section_digests
from pipeline.report.trials import TrialIndex
from pipeline.run import Run
from pipeline.settings import Settings

FORMATS = ("html", "pdf", "ipynb")


@dataclass(frozen=True)
class RenderJob:
    """How reports are to be made: `auto`, `quarto` or `embedded`, the template, the project.

    `static` None keeps the kind of figures that a report has; `format` is html, pdf or ipynb.
    """

    settings: Settings
    renderer: str = AUTO
    template: Path | None = None
    static: bool | None = None
    format: str = "html"

    @cached_property
    def sources(self) -> Sources:
        """The template and the sections in it, as the files are now."""
        return find_sources(self.template, self.settings)

    @cached_property
    def template_digests(self) -> tuple[str, dict[str, str]]:
        """The digests of both."""
        return sha256_file(self.sources.template), section_digests(self.sources.sections)

    @cached_property
    def chosen(self) -> Renderer:
        """The renderer that would be used."""
        return choose_renderer(self.renderer)

    @cached_property
    def index(self) -> TrialIndex:
        """What the runs searched, as they are now."""
        return TrialIndex(self.settings.results)

    def __reduce__(self) -> tuple[type[RenderJob], tuple[Any, ...]]:
        """Travel to another process without what was found out in this one."""
        return RenderJob, tuple(getattr(self, field.name) for field in fields(self))

    def static_for(self, run: Run) -> bool:
        """Say whether the figures of a run's report are to be drawings."""
        if self.static is not None:
            return self.static
        record = read_record(run)
        return record is not None and record.static


def known_format(name: str) -> str:
    """Return the name of a format of reports; raises UsageError naming the nearest for any other."""
    if name not in FORMATS:
        raise UsageError(f"{name!r} is not a format of reports. {nearest(name, FORMATS)}")
    return name


def why_stale(run: Run, job: RenderJob) -> str | None:
    """Return why the report of a run would come out different now; None when it is as it would be made.

    Compared are the manifest, the template and the project's sections in it, this package's assets and code of the
    page, the renderer, the earlier trials the page counts, the address of the tracked run, the kind of figures, and
    the bytes of every file there is.
    """
    record = read_record(run)
    if record is None or not run.dir.report.is_file():
        return "it has no report"
    template, sections = job.template_digests
    now = {
        "the run": (record.manifest_sha256, run.manifest_digest),
        "the template": (record.template_sha256, template),
        "a section of the project": (record.sections, sections),
        "the theme": (record.assets_sha256, assets_digest()),
        "the renderer": ((record.renderer, record.version), (job.chosen.name, job.chosen.version())),
        "the kind of figures": (record.static, record.static if job.static is None else job.static),
        "the address of the tracked run": (record.tracked, tracked_url(run)),
    }
    for what, (then, is_now) in now.items():
        if then != is_now:
            return f"{what} changed"
    if record.trials_sha256 != job.index.trials_of(run).sha256:
        return "the earlier trials changed"
    return why_file_stale(run, record, job)


def why_file_stale(run: Run, record: RenderRecord, job: RenderJob) -> str | None:
    """Return which file of a report is not as it was made, or not there; None when all are."""
    digests = {record.report: record.report_sha256, **{name: file["sha256"] for name, file in record.files.items()}}
    for name, digest in digests.items():
        path = run.dir.report.with_name(Path(name).name)
        if not path.is_file() or sha256_file(path) != digest:
            return "the report changed" if name == record.report else f"{name} changed"
    wanted = f"report.{job.format}"
    return None if job.format == "html" or wanted in record.files else f"it has no {wanted}"
