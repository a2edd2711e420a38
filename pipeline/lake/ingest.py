"""Take runs into the lake: what is new or changed in `results/`, or all of it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipeline.errors import LakeError
from pipeline.lake.curves import CURVES, read_curves
from pipeline.lake.index import Index, read_index, write_index
from pipeline.lake.ledger_rows import add_entries, add_trials, entry_of, originals, read_on
from pipeline.lake.parts import compacted, read_part, read_table, write_part
from pipeline.lake.place import Place
from pipeline.lake.rows import OF_RUNS, Rows
from pipeline.lake.schema import arrow_schema, tables
from pipeline.lake.state import curves_state, row_state
from pipeline.run import Run
from pipeline.run_row import RunRow
from pipeline.rundir import LEDGER, RunDir, run_ids
from pipeline.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 100  # runs that are written together
SAVED = 10  # batches after which what was done is kept, should the rest be interrupted
TRIALS = ("trials", "trial_results")
Progress = Callable[[Iterable["Seen"], int], Iterable["Seen"]]


@dataclass(frozen=True)
class Known:
    """What the lake knows of a run: the states it was taken in with, and whether its directory had gone."""

    state: str
    curves: str
    gone: bool = False


@dataclass(frozen=True)
class Seen:
    """A run whose row is not in the lake as it is now."""

    run: RunDir
    state: str
    before: Known | None


@dataclass(frozen=True)
class Ingested:
    """What an ingest did: how many runs are new, changed, gone; entries of the ledger; what was left out, in words."""

    added: int = 0
    changed: int = 0
    gone: int = 0
    runs: int = 0
    entries: int = 0
    problems: tuple[str, ...] = ()


def ingest(
    settings: Settings,
    *,
    rebuild: bool = False,
    compact: bool = False,
    only: Sequence[str] | None = None,
    progress: Progress = lambda seen, _total: seen,
) -> Ingested:
    """Take what is new or changed in the results into the lake; with `rebuild` all of it, from nothing.

    `only` looks at these runs alone. `compact` puts small files together where that would not be done yet. A run whose
    directory has gone keeps its rows, marked, until the lake is made again. Raises LakeError for a lake of another
    project's results, StorageError.
    """
    place = Place.of(settings)
    with place.writing():
        index = _begin(place, settings, rebuild=rebuild)
        work = _Work(place, index, save=not rebuild)
        known, count = _known(place, index, only)
        here = set(run_ids(settings.results) if only is None else only)
        seen = [*_seen(settings, sorted(here), known)]
        work.take(progress(seen, len(seen)))
        gone = [run_id for run_id in known if only is None and run_id not in here and not known[run_id].gone]
        work.mark_gone(gone)
        entries = work.read_ledger(settings)
        work.finish(compact=compact, durable=only is None)
    new = sum(item.before is None for item in seen)
    return Ingested(new, len(seen) - new, len(gone), count + new, entries, tuple(work.problems))


def _begin(place: Place, settings: Settings, *, rebuild: bool) -> Index:
    """Return the state to go on from; raises LakeError for that of other results."""
    results = settings.name_of(settings.results)
    found = None if rebuild else read_index(place)
    if found is not None and found.results != results:
        raise LakeError(
            f"The lake {place.path} is of the runs in {found.results}, not of those in {results}. Give these another "
            "with EVIDENCE_LAKE, or make it again of them: `evidence lake ingest --rebuild`."
        )
    return found or Index(results)


def _known(place: Place, index: Index, only: Sequence[str] | None) -> tuple[dict[str, Known], int]:
    """Return what the lake knows, by run, of all or of some; and how many runs it has."""
    flags, states = read_table(place, index, "runs", ["run_id", "gone"]), read_table(place, index, "states")
    gone = set(flags.filter(flags["gone"])["run_id"].to_pylist())
    rows = (states if only is None else _of_runs(states, only)).to_pylist()
    known = {row["run_id"]: Known(row["state"], row["curves"], row["run_id"] in gone) for row in rows}
    return known, len(states)


def _of_runs(table: pa.Table, run_ids: Iterable[str]) -> pa.Table:
    """Return the rows of these runs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table["run_id"], value_set=pa.array(sorted(run_ids), pa.string())))


def _seen(settings: Settings, here: Iterable[str], known: dict[str, Known]) -> Iterator[Seen]:
    for run_id in here:
        run, before = RunDir(settings.results, run_id), known.get(run_id)
        state = row_state(run)
        if before is None or before.gone or before.state != state:
            yield Seen(run, state, before)


@dataclass
class _Work:
    """One ingest: the state that is made, and what was left out."""

    place: Place
    index: Index
    save: bool
    problems: list[str] = field(default_factory=list)

    def take(self, seen: Iterable[Seen]) -> None:
        """Write runs, some at a time."""
        for number, batch in enumerate(_batches(seen), start=1):
            self._take(batch)
            if self.save and number % SAVED == 0:
                self.finish()

    def finish(self, *, compact: bool = False, durable: bool = True) -> None:
        """Make the state the current one; it is waited for the disk unless that is spared and nothing was compacted."""
        fewer = compacted(self.place, self.index, every=compact)
        write_index(self.place, fewer, durable=durable or fewer != self.index)
        self.index = fewer

    def _take(self, batch: Sequence[Seen]) -> None:
        rows = Rows()
        curves: dict[str, list[pa.Table]] = {name: [] for name in CURVES}
        again: set[str] = set()
        for item in batch:
            state = curves_state(item.run)
            if state and (item.before is None or item.before.curves != state):
                again.add(item.run.run_id)
                self._read_curves(item.run, curves)
            run = Run(item.run)
            rows.add_run(RunRow.of(run), run.artifacts, (item.state, state))
        changed = {item.run.run_id for item in batch if item.before is not None}
        for name in OF_RUNS:
            self._add(name, rows, replacing=changed)
        for name, found in curves.items():
            self._leave_out(name, changed & again)
            self._write(name, found)

    def _leave_out(self, name: str, run_ids: set[str]) -> None:
        """Let the curves of these runs no longer count, in the parts that have them: others stay as they are."""
        parts = []
        for part in self.index.of(name) if run_ids else ():
            had = set(read_part(self.place, name, part, ["run_id"])["run_id"].unique().to_pylist()) & run_ids
            parts.append(replace(part, without=tuple(sorted({*part.without, *had}))))
        self.index = self.index.with_parts(name, parts) if run_ids else self.index

    def _read_curves(self, run: RunDir, curves: dict[str, list[pa.Table]]) -> None:
        found, problems = read_curves(run)
        self.problems += problems
        for name, table in found.items():
            curves[name].append(table)

    def _add(self, name: str, rows: Rows, *, replacing: Iterable[str] = ()) -> None:
        import pyarrow as pa

        self.index = self.index.without(name, replacing)
        if name in rows.columns:
            self._write(name, [pa.table(rows.columns[name], schema=arrow_schema(tables()[name]))])

    def _write(self, name: str, found: Sequence[pa.Table]) -> None:
        import pyarrow as pa

        if sum(map(len, found)):
            part = write_part(self.place, name, pa.concat_tables(found))
            self.index = self.index.with_parts(name, [*self.index.of(name), part])

    def mark_gone(self, run_ids: Sequence[str]) -> None:
        """Say in the rows of these runs that their directories are no longer there."""
        import pyarrow as pa

        if not run_ids:
            return
        table = _of_runs(read_table(self.place, self.index, "runs"), run_ids)
        at = table.schema.get_field_index("gone")
        table = table.set_column(at, table.schema.field(at), pa.repeat(True, len(table)))
        self.index = self.index.without("runs", run_ids)
        self._write("runs", [table])

    def read_ledger(self, settings: Settings) -> int:
        """Take in what the ledger has beyond what was read; return how many entries that is."""
        try:
            new = read_on(settings.results / LEDGER, self.index.ledger)
        except OSError as error:
            self.problems.append(f"{settings.results / LEDGER} cannot be read: {error.strerror}")
            return 0
        if new.problem is not None:
            self.problems.append(f"{new.problem}: `evidence ledger check` says more")
        rows = Rows()
        add_entries(rows, new.entries)
        if new.whole:
            for name in ("ledger", *TRIALS):
                self.index = self.index.with_parts(name, ())
            add_trials(rows, new.entries)
        elif new.entries:
            about = {entry.event.run_id for entry in new.entries}
            add_trials(rows, [*self._earlier(new.entries, about), *new.entries], only=about)
            for name in TRIALS:
                self.index = self.index.without(name, {run_id for run_id in about if run_id is not None})
        for name in ("ledger", *TRIALS):
            self._add(name, rows)
        self.index = replace(self.index, ledger=new.read)
        return len(new.entries)

    def _earlier(self, new: Sequence[Any], about: set[str | None]) -> list[Any]:
        """Return the earlier entries about runs, and about those that they say they execute again."""
        wanted = {run_id for run_id in about if run_id is not None} | originals(new)
        if not len(_of_runs(read_table(self.place, self.index, "ledger", ["run_id"]), wanted)):
            return []  # as of every new run
        table = read_table(self.place, self.index, "ledger")
        while True:
            found = [entry_of(row) for row in _of_runs(table, wanted).to_pylist()]
            more = originals(found) - wanted
            if not more:
                return sorted(found, key=lambda entry: entry.seq)
            wanted |= more


def _batches(seen: Iterable[Seen]) -> Iterator[list[Seen]]:
    batch: list[Seen] = []
    for item in seen:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
