"""The names of the files in a run directory; nothing else knows them.

config_snapshot.toml  config_snapshot.json  notebook.ipynb  stats.json  conventions.json  equity.csv
result.json  data.json  robustness.json  trades.parquet  trades.csv  plots/*.png
where a result has them: fills, positions, weights, prices, account, benchmarks (.parquet), folds.json, tables/*,
files/*
reports/trades_summary.json  reports/backtest_report.txt  tracking.json  manifest.json  manifest.dsse.json
debug/*  optional records, among them log.jsonl, the log, tracking.jsonl, the journal, and tracking/<n>/…, files that
were logged
report/index.html  report/render.json  report/statement.dsse.json (report/statement.json when nobody signs)
of a run by hand, for its notebook: by_hand.ipynb, its cells, or by_hand.py, its script
of a sweep instead: trials.jsonl  walk_forward.jsonl  returns.parquet  statistics.json  study.journal  best.toml
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"
SIGNATURE = "manifest.dsse.json"
REPORT_DIR = "report"
REPORT_STATEMENT = "statement.dsse.json"
REPORT_STATEMENT_UNSIGNED = "statement.json"
UNSEALED = frozenset({MANIFEST, SIGNATURE})
JOURNAL = "tracking.jsonl"
JOURNAL_FILES = "tracking"
LOG = "log.jsonl"
CELLS_BY_HAND = "by_hand.ipynb"
SCRIPT_BY_HAND = "by_hand.py"


@dataclass(frozen=True)
class Layout:
    """The names of the files below one directory: a run directory, or one laid out alike."""

    path: Path

    @property
    def config_toml(self) -> Path:
        """The config exactly as given."""
        return self.path / "config_snapshot.toml"

    @property
    def config_json(self) -> Path:
        """The config parsed, defaults resolved, canonical JSON."""
        return self.path / "config_snapshot.json"

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.path / "notebook.ipynb"

    @property
    def stats(self) -> Path:
        """Metrics, strict JSON."""
        return self.path / "stats.json"

    @property
    def conventions(self) -> Path:
        """What the metrics are annualised by; absent in runs from before it was recorded."""
        return self.path / "conventions.json"

    @property
    def result(self) -> Path:
        """What made the result, what it is of, and whether its parts agree, strict JSON; absent in earlier runs."""
        return self.path / "result.json"

    def part(self, name: str) -> Path:
        """One of the tables that a result may have: fills, positions, weights, prices, account, benchmarks."""
        return self.path / f"{name}.parquet"

    @property
    def folds(self) -> Path:
        """Train and test windows, JSON; absent when the result has none."""
        return self.path / "folds.json"

    @property
    def tables(self) -> Path:
        """Directory of tables of the user's own."""
        return self.path / "tables"

    @property
    def own_files(self) -> Path:
        """Directory of files of the user's own."""
        return self.path / "files"

    @property
    def equity(self) -> Path:
        """Equity curve: timestamp, equity, drawdown, benchmark_equity."""
        return self.path / "equity.csv"

    @property
    def robustness(self) -> Path:
        """How far the results can be trusted, strict JSON; absent when nothing was examined."""
        return self.path / "robustness.json"

    @property
    def data_facts(self) -> Path:
        """What the bars are labelled by, their gaps and leaps, strict JSON; absent when no bars were read."""
        return self.path / "data.json"

    @property
    def trades_parquet(self) -> Path:
        """One row a trade."""
        return self.path / "trades.parquet"

    @property
    def trades_csv(self) -> Path:
        """One row a trade, for people."""
        return self.path / "trades.csv"

    @property
    def plots(self) -> Path:
        """Directory of static figures."""
        return self.path / "plots"

    @property
    def equity_plot(self) -> Path:
        """Static figure of equity and drawdown."""
        return self.plots / "equity_curve.png"

    @property
    def trades_summary(self) -> Path:
        """Counts and sums over the trades, JSON."""
        return self.path / "reports" / "trades_summary.json"

    @property
    def report_text(self) -> Path:
        """The results as plain text."""
        return self.path / "reports" / "backtest_report.txt"

    @property
    def trials(self) -> Path:
        """The trials of a sweep, one a line, by number."""
        return self.path / "trials.jsonl"

    @property
    def forward_trials(self) -> Path:
        """The trials of the searches before the windows of a sweep's walk-forward, one a line."""
        return self.path / "walk_forward.jsonl"

    @property
    def trial_returns(self) -> Path:
        """Simple returns per bar of a sweep's completed trials: a row a bar, a column a trial."""
        return self.path / "returns.parquet"

    @property
    def statistics(self) -> Path:
        """What a sweep says about its best trial."""
        return self.path / "statistics.json"

    @property
    def study_journal(self) -> Path:
        """The Optuna study of a sweep, when it is kept here."""
        return self.path / "study.journal"

    @property
    def best_config(self) -> Path:
        """The run spec of a sweep's best trial."""
        return self.path / "best.toml"

    @property
    def tracking(self) -> Path:
        """Tracking URI, experiment id, MLflow run id, URL of the run."""
        return self.path / "tracking.json"

    @property
    def manifest(self) -> Path:
        """The seal."""
        return self.path / MANIFEST

    @property
    def signature(self) -> Path:
        """The manifest in a DSSE envelope; absent when nobody signed."""
        return self.path / SIGNATURE

    @property
    def report(self) -> Path:
        """The rendered report, a view."""
        return self.path / REPORT_DIR / "index.html"

    @property
    def render_record(self) -> Path:
        """What the report was made from and with."""
        return self.path / REPORT_DIR / "render.json"

    @property
    def report_statement(self) -> Path:
        """What the report was made from, in a DSSE envelope."""
        return self.path / REPORT_DIR / REPORT_STATEMENT

    @property
    def report_statement_unsigned(self) -> Path:
        """The same without a signature, when nobody signs."""
        return self.path / REPORT_DIR / REPORT_STATEMENT_UNSIGNED

    @property
    def debug(self) -> Path:
        """Directory of optional records."""
        return self.path / "debug"

    @property
    def journal(self) -> Path:
        """What the notebook logged, a line each."""
        return self.debug / JOURNAL

    @property
    def journal_files(self) -> Path:
        """Directory of files that the notebook logged and that lie nowhere else."""
        return self.debug / JOURNAL_FILES

    @property
    def kernel_log(self) -> Path:
        """What the kernel's process printed past the notebook; absent when it printed nothing."""
        return self.debug / "kernel.log"

    @property
    def log(self) -> Path:
        """What happened in the run up to its seal, a JSON object a line; absent in runs from before it was kept."""
        return self.debug / LOG

    @property
    def modules(self) -> Path:
        """Digests of the project modules the kernel had imported when the notebook ended."""
        return self.debug / "modules.json"

    @property
    def inputs(self) -> Path:
        """What the kernel was seen to read, strict JSON; absent when it read nothing that counts as an input."""
        return self.debug / "inputs.json"

    @property
    def other_strategy(self) -> Path:
        """The strategy that the notebook ran in place of the spec's; absent when it ran the spec's."""
        return self.debug / "other_strategy.json"
