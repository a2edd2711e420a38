"""Runs of this project over HTTP: listed, shown, read, verified, packed. Nothing is executed."""

from __future__ import annotations

import math
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import FileResponse, Response

from pipeline import verbs
from pipeline.listing.query import Query as Conditions
from pipeline.run import Run, load_run
from pipeline.run_row import RunDetails, RunRow
from pipeline.service.problems import Refusal
from pipeline.service.routes import Route, router
from pipeline.service.run_rows import RunRows
from pipeline.service.run_words import Links, RunPage, RunShown, Table, Verified
from pipeline.service.transfers import BYTES, PassingFile, Transfers
from pipeline.service.words import Text
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

PREFIX = "/api/runs"
RunId = Annotated[
    str, Path(pattern=r"^(last|[0-9a-f][0-9a-f-]{3,35})$", description="a run_id, the start of one, or `last`")
]
Word = Annotated[str | None, Query(max_length=500)]
Offset = Annotated[int, Query(ge=0, le=100_000_000)]
Limit = Annotated[int, Query(ge=1, le=1_000)]
RowLimit = Annotated[int, Query(ge=1, le=100_000)]
Digest = Annotated[str | None, Query(pattern=r"^(sha256:)?[0-9a-f]{8,64}$", description="SHA-256 of an input")]
Labels = Annotated[list[Text], Query(max_length=20, description="NAME=VALUE, each of which a run must have")]
HERE = ("directory", "report")  # paths of this machine, in whose place are links
NOTEBOOK = "application/x-ipynb+json"
# A report is one file with its scripts in it: it may run them, in an origin of its own, and reach nothing.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox allow-scripts allow-downloads"
)


class RunRoutes:
    """The routes that read runs."""

    def __init__(self, settings: Settings, transfers: Transfers) -> None:
        self._settings, self._transfers = settings, transfers
        self._rows = RunRows(settings)

    def router(self) -> APIRouter:
        """Return the routes."""
        run = "/{run_id}"
        return router(
            PREFIX,
            "runs",
            [
                Route("GET", "", self.list_runs),
                Route("GET", run, self.run),
                Route("GET", f"{run}/stats", self.stats),
                Route("GET", f"{run}/equity", self.equity),
                Route("GET", f"{run}/trades", self.trades),
                Route("GET", f"{run}/positions", self.positions),
                Route("GET", f"{run}/verify", self.verify),
                Route("GET", f"{run}/manifest", self.manifest, options=_of("application/json")),
                Route("GET", f"{run}/report", self.report, options=_of("text/html")),
                Route("GET", f"{run}/notebook", self.notebook, options=_of(NOTEBOOK)),
                Route("GET", f"{run}/bundle", self.bundle, "write", options=_of(BYTES)),
            ],
        )

    def list_runs(
        self,
        *,
        symbol: Word = None,
        strategy: Word = None,
        experiment: Word = None,
        status: Word = None,
        since: Word = None,
        until: Word = None,
        data: Digest = None,
        tag: Labels = [],  # noqa: B006 - FastAPI copies it
        where: Annotated[str | None, Query(max_length=5_000, examples=["sharpe > 1 and engine ~ vectorbt"])] = None,
        sort: Annotated[str | None, Query(max_length=500, examples=["-sharpe,started"])] = None,
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> RunPage:
        """List runs that fulfil every condition given, the one started last first, or as `sort` says."""
        tags = dict(_label(text) for text in tag)
        asked = Conditions(symbol, since, until, data, strategy, experiment, tags, status, where, sort)
        found = asked.select(self._rows.all(), self._settings.results)
        return RunPage(runs=[_shown(row, row.to_dict()) for row in found[offset : offset + limit]], total=len(found))

    def run(self, run_id: RunId) -> RunShown:
        """Show all that is known of a run: its record, spec, stats, inputs, packages, sealed files."""
        found = RunDetails.of(self._found(run_id))
        return _shown(found.row, found.to_dict())

    def stats(self, run_id: RunId) -> dict[str, float | int | None]:
        """Show a run's metrics; null is undefined."""
        return self._found(run_id).stats

    def equity(self, run_id: RunId, offset: Offset = 0, limit: RowLimit = 10_000) -> Table:
        """Show a run's equity, drawdown and benchmark."""
        return _table(self._found(run_id).equity.reset_index(), offset, limit)

    def trades(self, run_id: RunId, offset: Offset = 0, limit: RowLimit = 10_000) -> Table:
        """Show a run's trades."""
        return _table(self._found(run_id).trades, offset, limit)

    def positions(self, run_id: RunId, offset: Offset = 0, limit: RowLimit = 10_000) -> Table:
        """Show what a run held over time, in units: 404 when nobody said so."""
        path = self._found(run_id).dir.part("positions")
        if not path.is_file():
            raise Refusal(404, "The run has no positions.")
        import pandas as pd

        return _table(pd.read_parquet(path).reset_index(), offset, limit)

    def verify(self, run_id: RunId) -> Verified:
        """Compare a run with its seal, its signature, its report and the ledger, as they are now."""
        return Verified.of(verbs.verify(self._found(run_id), settings=self._settings))

    def manifest(self, run_id: RunId) -> Response:
        """Send the seal, byte by byte as it is."""
        return _file(self._found(run_id).dir.manifest, "application/json", "The run is not sealed.")

    def report(self, run_id: RunId) -> Response:
        """Send the report, to be shown; it can reach nothing from there."""
        path = self._found(run_id).dir.report
        answer = _file(path, "text/html", "The run has no report. `evidence render` makes one.")
        answer.headers["content-security-policy"] = REPORT_POLICY
        del answer.headers["content-disposition"]
        return answer

    def notebook(self, run_id: RunId) -> Response:
        """Send the executed notebook, to be saved."""
        return _file(self._found(run_id).dir.notebook, NOTEBOOK, "The run has no executed notebook.")

    def bundle(
        self,
        run_id: RunId,
        public: Annotated[bool, Query(description="leave out the seal, paths, hosts and users")] = False,  # noqa: FBT002
    ) -> Response:
        """Pack a run for somebody who has none of this, signed with the project's key: 409 when it does not verify."""
        found = self._found(run_id)
        folder = self._transfers.keep()
        try:
            name = folder / f"evidence-{found.run_id}{'-public' * public}.zip"
            return PassingFile(verbs.make_bundle(found, name, public=public, settings=self._settings).path, folder)
        except BaseException:
            self._transfers.discard(folder)
            raise

    def _found(self, run_id: str) -> Run:
        return load_run(run_id, settings=self._settings)


def _of(media: str) -> dict[str, Any]:
    return {"response_class": Response, "responses": {200: {"content": {media: {}}}}}


def _shown(row: RunRow, values: dict[str, Any]) -> RunShown:
    here = f"{PREFIX}/{row.run_id}"
    links = Links(
        record=here,
        equity=f"{here}/equity",
        trades=f"{here}/trades",
        verify=f"{here}/verify",
        manifest=f"{here}/manifest" if row.marks.sealed else None,
        report=f"{here}/report" if row.report is not None else None,
        notebook=f"{here}/notebook" if row.marks.sealed else None,
    )
    known = {name: value for name, value in values.items() if name not in HERE}
    return RunShown(**{**known, "name": row.name, "links": links})


def _file(path: FilePath, media: str, missing: str) -> FileResponse:
    """Return a file of a run as it is; raises Refusal, 404 without one, and for a link, which may lead anywhere."""
    if path.is_symlink() or not path.is_file():
        raise Refusal(404, missing)
    return FileResponse(path, filename=path.name, media_type=media)


def _table(frame: pd.DataFrame, offset: int, limit: int) -> Table:
    page = frame.iloc[offset : offset + limit]
    columns = [[_cell(value) for value in page[name].tolist()] for name in page.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table(columns=[str(name) for name in page.columns], rows=rows, total=len(frame))


def _cell(value: Any) -> Any:
    """Return a value of a table as JSON has it: numbers not rounded, null for none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if text == "NaT" else text


def _label(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not name or not mark:
        raise Refusal(400, "A tag is asked for as NAME=VALUE.")
    return name, value
