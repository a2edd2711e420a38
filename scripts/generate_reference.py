"""Write the pages that are made from the code: docs/api.md, cli.md, gallery.md, run-spec.md and sweep-spec.md.

python scripts/generate_reference.py            write them
python scripts/generate_reference.py --check    change nothing; exit 1 when a page is not what would be written
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
import pydantic
from api_reference import api_page
from gallery import gallery_page
from metrics_reference import metrics_page

from pipeline import errors
from pipeline.backtest.data import sample_names
from pipeline.backtest.strategies import Parameter, Strategy, get_strategy, strategy_names
from pipeline.cli.app import EXIT_CODES, every_command
from pipeline.spec import RunSpec
from pipeline.spec_sections import STRATEGY_ALIASES
from pipeline.sweep.spec import SweepSection, ValidationSection

ROOT = Path(__file__).resolve().parent.parent
GENERATED = "<!-- Made by scripts/generate_reference.py from the code; `make docs` writes it anew. -->"
SIGNS = {annotated_types.Gt: ">", annotated_types.Ge: ">=", annotated_types.Lt: "<", annotated_types.Le: "<="}

CLI_INTRO = """# The command line

{generated}

`evidence COMMAND --help` says the same on the terminal. Results go to standard output, progress, warnings and errors to
standard error. An error is a sentence that says what was wrong, where, and what to do; never a traceback.

{exit_codes}

- After exit code 2 there is nothing that was not there before: no run, no entry in the ledger, no file.
- A command about one run takes the one started last when none is named.
- What is written to a place of your choice is named by `--output` or `-o`; directories that are missing are made.
- Standard error may be closed or full: a run goes on. Standard output that cannot be written is an error, exit code 1;
  a reader that stops early (`| head -1`) is none that is told.

## JSON

With `--json` standard output is one JSON document, always of the same shape:

| command | document |
|---|---|
| `list`, `find`, `render`, `sync`, `verify`, `ledger adopt` | a list, one object a run, also of one run or none |
| `ledger check` | a list of one object, as `verify --all` has it for the ledger |
| `study list`, `study best`, `doctor` | a list, one object a sweep, a trial, a package |
| all others | one object |
| any command that ends in an error | `{{"error": {{"kind": "RunNotFoundError", "message": "..."}}}}` |

An `error` inside of a document (a run's, a report's, a delivery's) has the same two keys, or is null; that of a failed
cell has `cell`, `ename`, `evalue` and `traceback` too. `kind` is one of the [kinds of errors](#kinds-of-errors), or
Python's own; of a run that was not sealed `killed`, of one that cannot be read `manifest`. A run is one object
everywhere: `list` and `run` print the same keys, `show` adds `packages`, `modules`,
`inputs` and `artifacts`, `run` adds `reused`
and `why`, `find` adds `found_as`; `list --columns` prints those columns alone. A run that cannot be read is listed
too, with the status UNREADABLE.

## Kinds of errors

{error_kinds}

## Environment variables

| variable | meaning |
|---|---|
| `EVIDENCE_ROOT` | the project's directory; without it, the nearest parent of the current one that holds a project |
| `EVIDENCE_RESULTS` | where the run directories are, relative to the project's directory; default `results` |
| `EVIDENCE_DATA_DIRECTORIES` | what a notebook reads below these is an [input](inputs.md); default: the project |
| `EVIDENCE_LAKE` | directory of the [lake](lake.md); default: `data/lake` in the project |
| `EVIDENCE_LAKE_INGEST` | `1`: a run that `evidence run` or `run_backtest` executed is taken into the lake at its end |
| `EVIDENCE_KEY`, `EVIDENCE_KEY_FILE` | the signing key as PEM text, or its file; default: the user's own key |
| `EVIDENCE_KEY_PASSPHRASE` | its passphrase, and that of a new key; without it, it is asked for |
| `EVIDENCE_TRACEBACK` | anything: an error is printed with its traceback, for a report of a fault |
| `EVIDENCE_LOG` | `debug`, `info`, `warning`, `error`: prints the [log](telemetry.md#the-log) of runs, too |
| `EVIDENCE_OTEL_ENABLED` | `1` [exports](telemetry.md#export) traces, numbers and logs; `0` does not |
| `EVIDENCE_TRACKING_TIMEOUT` | seconds that MLflow may take for one answer; default 10 |
| `EVIDENCE_PARAM_` and a name | the value of a parameter that is masked in the spec ([secrets](notebooks.md#secrets)) |
| `EVIDENCE_SERVICE_` and a key | a setting of `evidence serve` ([service](service.md#settings)) |
| `MLFLOW_TRACKING_URI` | the MLflow store, unless the spec says `tracking.uri`; default: SQLite in `mlflow.db` |
| `FORKED_KERNELS` | `0`: a run's kernel is a fresh process, `1`: a forked one on macOS too ([kernels](kernels.md)) |
| `EVIDENCE_KERNEL_TRANSPORT` | `tcp`: fresh kernels talk over TCP, as on Windows, not over Unix sockets |
| `FORKED_KERNELS_SOCKET` | the address of a fork server that is to be used, set by `python -m pipeline.kernels` |
| `QUARTO_PATH` | the Quarto program; default: the one on the path |

A run sets some more for its own kernel, which are not to be set by hand: `EVIDENCE_RUN_ID`, `EVIDENCE_SEED`,
`EVIDENCE_MODULES_FILE`, `EVIDENCE_PLACES_FILE`, `EVIDENCE_REPLAYED_FRAMES`, `EVIDENCE_MASKED_VALUES`,
`EVIDENCE_MLFLOW_RUN_ID`, `EVIDENCE_TRACKING_MODE`, `EVIDENCE_TRACKING_JOURNAL`, `EVIDENCE_TRACKING_STORE` and
`EVIDENCE_TRACED`.

## Commands
"""

SPEC_INTRO = f"""# The run spec

{GENERATED}

A run spec is a TOML file that says what a run is asked to do; [config/demo.toml](../config/demo.toml) is one. Every key
has a default, so an empty file is a valid spec. An unknown key, a value of the wrong type and a value out of bounds are
refused before anything starts, with exit code 2. Relative paths start at the project's directory.

`evidence run --config SPEC -p KEY=VALUE` lays a value over the file. A key without a dot is a param of the strategy
(`-p fast=10`); with dots it is any key of the spec (`-p backtest.fee_bps=2`). The value is read as TOML, and as text
when it is not TOML. Overrides are recorded in the manifest.
"""

SWEEP_INTRO = f"""# The sweep spec

{GENERATED}

A sweep spec is a [run spec](run-spec.md) with three more sections, in one TOML file;
[config/sweep.toml](../config/sweep.toml) is one. What the run spec says holds for every trial; `[space]` says what
varies. `evidence sweep --config SPEC -p sweep.trials=50` lays a value over the file.
"""

SPACE = """## [space]

One line a dimension. A name without a dot is a param of the strategy, with dots it is any key of the run spec. Without
this section the strategy's own schema is searched: every param that `[strategy] params` does not fix, over its bounds.

```toml
[space]
fast = { low = 5, high = 60, step = 5 }            # a range, both ends inclusive
slow = [100, 150, 200]                             # a list
average = ["sma", "ema"]                           # of any values
backtest.stop_pct = { low = 1.0, high = 8.0, log = true }
```
"""

STRATEGY_INTRO = """
## Params of the bundled strategies

What `[strategy] params` may hold. Bounds are inclusive.

A strategy of your own is written `module:function`. The module is looked for in the project's directory first, then on
the Python path. Its params are passed on unchecked, unless the function has an attribute `parameters` (a tuple of
`pipeline.backtest.Parameter`): then they are checked in the same way.
"""


def cli_page() -> str:
    """Return docs/cli.md."""
    commands = dict(every_command())
    names = "\n".join(f"- [`evidence {name}`](#evidence-{name.replace(' ', '-')})" for name in commands)
    intro = CLI_INTRO.format(generated=GENERATED, exit_codes=textwrap.fill(EXIT_CODES, 120), error_kinds=_error_kinds())
    return _joined(intro, names, *(_command(name, command) for name, command in commands.items()))


def _error_kinds() -> str:
    """Return the tree of errors as docs/cli.md shows it."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    return f"```text\n{inspect.cleandoc(tree)}\n```"


def _command(name: str, command: Any) -> str:
    arguments = [item for item in command.params if not _is_option(item)]
    options = [item for item in command.params if _is_option(item) and "--help" not in item.opts]
    needed = [f"{item.opts[0]} {_placeholder(item)}" for item in options if item.required]
    usage = " ".join(["evidence", name, *needed, "[OPTIONS]", *map(_argument, arguments)])
    rows = [(_argument(item), _default(item), item.help) for item in arguments]
    rows += [(_option(item), _default(item), item.help) for item in options]
    table = _table(("argument or option", "default", "meaning"), rows)
    shown = f"Example: `{command.epilog.splitlines()[-1].strip()}`"
    return f"## evidence {name}\n\n{command.help}\n\n    {usage}\n\n{table}\n{shown}"


def _is_option(item: Any) -> bool:
    return str(item.opts[0]).startswith("-")


def _argument(item: Any) -> str:
    text = _placeholder(item)
    return text if item.required or text.startswith("[") else f"[{text}]"


def _placeholder(item: Any) -> str:
    return str(item.metavar or item.name.upper())


def _option(item: Any) -> str:
    names = ", ".join([*item.opts, *item.secondary_opts])
    return names if item.is_flag else f"{names} {_placeholder(item)}"


def _default(item: Any) -> str:
    if item.required:
        return "required"
    if isinstance(item.show_default, str):
        return item.show_default
    if _is_option(item) and item.is_flag:
        chosen = item.opts if item.default else item.secondary_opts
        return f"`{chosen[-1]}`" if chosen else ""
    return "" if item.default in (None, "", ()) else f"`{item.default}`"


def spec_page() -> str:
    """Return docs/run-spec.md."""
    sections = [_section(name, field) for name, field in RunSpec.model_fields.items()]
    samples = ", ".join(f"`sample:{name}`" for name in sample_names())
    strategies = [_strategy(get_strategy(name)) for name in strategy_names()]
    return _joined(SPEC_INTRO, f"Bundled samples: {samples}.", *sections, STRATEGY_INTRO, *strategies)


def sweep_page() -> str:
    """Return docs/sweep-spec.md."""
    return _joined(SWEEP_INTRO, _model("sweep", SweepSection), SPACE, _model("validation", ValidationSection))


def _joined(*parts: str) -> str:
    """Return the parts with one empty line between them."""
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


INPUTS_SECTION = """## [inputs]

What the run reads besides, each under a name of your choice: `prices = "data/*.parquet"`. A file, a folder or a
pattern, relative to the project's directory. `run.input(path, name="prices")` in
the notebook returns the path given here, and `--input prices=PATH` sets it; see [inputs](inputs.md)."""


def _section(name: str, field: Any) -> str:
    if name == "inputs":
        return INPUTS_SECTION
    optional = [item for item in typing.get_args(field.annotation) if item is not type(None)]
    return _model(name, optional[0] if optional else field.annotation)


def _model(name: str, model: type[pydantic.BaseModel]) -> str:
    rows = [
        (
            key,
            _type(item.annotation),
            _value(item.get_default(call_default_factory=True)),
            _bounds(item),
            item.description,
        )
        for key, item in model.model_fields.items()
    ]
    about = (model.__doc__ or "").strip()
    return f"## [{name}]\n\n{about}\n\n{_table(('key', 'type', 'default', 'bounds', 'meaning'), rows)}"


def _type(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(item) for item in inner if item is not type(None))
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return "table" if inner[1] is Any else f"table of {_type(inner[1])}"
    return {"str": "text", "int": "integer", "float": "number", "bool": "true or false"}.get(
        annotation.__name__, annotation.__name__
    )


def _value(value: Any) -> str:
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _bounds(item: Any) -> str:
    return ", ".join(_bound_texts(item.metadata))


def _bound_texts(metadata: list[Any]) -> Iterator[str]:
    for rule in metadata:
        sign = SIGNS.get(type(rule))
        if sign is not None:
            yield f"{sign} {dataclasses.astuple(rule)[0]:,}"
        elif isinstance(rule, annotated_types.MinLen) and rule.min_length == 1:
            yield "not empty"
        elif isinstance(rule, annotated_types.MaxLen):
            yield f"at most {rule.max_length} characters"


def _strategy(strategy: Strategy) -> str:
    other = ", ".join(f"`{alias}`" for alias, name in STRATEGY_ALIASES.items() if name == strategy.name)
    parts = [f"### {strategy.name}", strategy.summary + (f" Also called {other}." if other else "")]
    rows = [(p.name, _type(p.type), _value(p.default), _parameter_bounds(p), p.meaning) for p in strategy.parameters]
    parts.append(_table(("param", "type", "default", "bounds", "meaning"), rows) if rows else "It has no params.")
    if strategy.constraints:
        parts.append("Must hold: " + ", ".join(f"`{rule}`" for rule in strategy.constraints) + ".")
    return _joined(*parts)


def _parameter_bounds(parameter: Parameter) -> str:
    if parameter.choices is not None:
        return "one of " + ", ".join(f"`{choice}`" for choice in parameter.choices)
    return "" if parameter.low is None or parameter.high is None else f"{parameter.low:,} to {parameter.high:,}"


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    body = [line((f"`{first}`", *rest)) for first, *rest in rows]
    return "\n".join([line(titles), "|" + "---|" * len(titles), *body]) + "\n"


PAGES = {
    "docs/api.md": lambda: api_page(GENERATED),
    "docs/cli.md": cli_page,
    "docs/metrics.md": lambda: metrics_page(GENERATED),
    "docs/run-spec.md": spec_page,
    "docs/sweep-spec.md": sweep_page,
    "docs/gallery.md": lambda: gallery_page(GENERATED),
}


def main() -> int:
    """Write the pages, or with --check name the stale ones and return 1 when there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    stale = 0
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if not check:
            path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{name} {'is stale: `make docs` writes it anew' if check else 'written'}")
    return int(check and stale > 0)


if __name__ == "__main__":
    raise SystemExit(main())
