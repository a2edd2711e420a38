"""The cases of each target: what people thought of, and mutations of genuine files, the same at every run."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Iterator
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.evidence.bundle import sums, write_zip
from pipeline.evidence.dsse import STATEMENT, make_envelope, read_envelope
from pipeline.evidence.strict_json import canonical
from tests.fuzz import genuine, mutations
from tests.fuzz.mutations import PACKERS, VALUES

COUNTS = {
    "spec": 450, "sweep": 250, "data": 450, "notebook": 300, "ledger": 250, "trust": 200, "bundle": 250, "site": 150,
    "list": 300,
}  # fmt: skip


def cases_of(target: str) -> Iterator[dict[str, Any]]:
    """Yield the cases of a target: its own list, then mutations up to its count."""
    written = [*WRITTEN[target]()]
    yield from (case(*item) for item in written)
    rng = random.Random(target)
    for _ in range(COUNTS[target] - len(written)):
        yield case(*MUTATED[target](rng))


def case(name: str, data: bytes, extra: Any = None) -> dict[str, Any]:
    """Return a case as the worker reads it."""
    return {"name": name, "hex": data.hex(), "extra": extra}


def toml_extremes(name: str) -> Iterator[tuple[Any, ...]]:
    """Yield TOML documents that are hard to read, whatever they are for."""
    for data in (
        b"a=" + b"[" * 3000, b"a=" + b"[" * 3000 + b"]" * 3000, b"a=" + b"{b=" * 3000, b"[[" * 3000, b"\x00", b"\xff",
        b"[" + b".".join([b"a"] * 50_000) + b"]", b".".join([b"a"] * 50_000) + b" = 1", b"'a'." * 50_000 + b"a = 1",
        b"x = {" + b"a." * 50_000 + b"b = 1}", b"[run]\nseed = " + b"1" * 100_000, b"a = 0x" + b"f" * 100_000,
        b"# " + b"x" * 2_000_000, b"a = '''" + b"x" * 500_000, b"[a]\n" * 20_000, b"a = 1\n" * 2, b"\r" * 1000,
        b'a = "' + b"\\u0041" * 100_000 + b'"', b"[[a]]\n" * 20_000, b"a" * 900_000 + b" = 1",
        b"".join(b"[%s]\n" % b".".join([b"a%d" % n] * 31) for n in range(8_000)), b"a = 9999999999999999999999",
    ):  # fmt: skip
        yield name, data


def spec_written() -> Iterator[tuple[Any, ...]]:
    yield from toml_extremes("run.toml")
    for source in (
        "\\u0000.csv",
        "a" * 300 + ".csv",
        "/" * 5000,
        "~nobody-at-all/x.csv",
        "\\ud7ff.csv",
        "con.csv",
        ".",
    ):
        for section, key in (("data", "source"), ("run", "notebook"), ("benchmark", "source"), ("report", "template")):
            yield "run.toml", f'[{section}]\n{key} = "{source}"\n'.encode()
    for override in ("a." * 50_000 + "b=1", "a=" + "[" * 3000, "=", "a", "\0=1", "run.seed=" + "9" * 5000, "\ud800=1",
                     "run.name=\ud800", "x=\u202e", "run=1", "run.tags.a.b=1", "strategy.params=1", "." * 20 + "=1",
                     "data.start=9999-12-31", "data.end=0001-01-01",
                     "run.parameters.a=" + "[" * 200 + "]" * 200):  # fmt: skip
        yield "run.toml", genuine.SPEC, [override]


def sweep_written() -> Iterator[tuple[Any, ...]]:
    yield from toml_extremes("sweep.toml")
    for space in ("fast = { low = 1, high = 9007199254740992 }", "fast = { low = 0.1, high = 1e308, step = 1e-300 }",
    "a=1",
                  "fast = { low = 1, high = 2, step = 0.1 }", "fast = []", "fast = [1, 1.0]",
                  "fast = { values = [{}] }",
                  "fast = { low = nan, high = 1 }", "fast = { low = 1e-320, high = 1e308, log = true }",
                  "[space.a.b.c.d]"):  # fmt: skip
        yield "sweep.toml", f"[space]\n{space}\n".encode()


def data_written() -> Iterator[tuple[Any, ...]]:
    for end in ("9999-12-31", "0001-01-01", "2262-04-12", "1677-09-20", "2000-02-30", "", "x", "9999-12-31T23:59:59Z"):
        yield "bars.csv", genuine.CSV, {"end": end}
        yield "bars.csv", genuine.CSV, {"start": end}
    packed = gzip.compress(genuine.CSV, mtime=0)
    for cut in (0, 1, 9, 10, 11, 18, len(packed) // 2, len(packed) - 9, len(packed) - 4, len(packed) - 1):
        yield "bars.csv.gz", packed[:cut]
    yield "bars.csv.gz", gzip.compress(b"0" * 400_000_000, mtime=0)
    yield "bars.csv.zip", mutations.zipped({"a.csv": genuine.CSV, "b.csv": genuine.CSV})
    yield "bars.csv.zip", mutations.zipped({})
    yield "bars.csv", b""
    yield "bars.csv", b"\n" * 100_000
    yield "bars.csv", b"," * 10_000
    yield "bars.csv", b'"' * 100_001
    yield "bars.csv", b"timestamp,open,high,low,close\n" + b"2020-01-01,1,1,1,1\n" * 2_000
    yield "bars.csv", b"timestamp,open,high,low,close\n" + b"9" * 200_000 + b",1,1,1,1\n"
    yield "bars.parquet", b"PAR1" + b"\xff" * 100 + b"PAR1"
    yield "bars.parquet", b"PAR1\xff\xff\xff\x7fPAR1"
    yield "bars.feather", b"ARROW1\x00\x00" + b"\xff" * 200 + b"ARROW1"
    for name in ("timezone", "date_format", "decimal", "symbol"):
        for value in ("", "\0", "x", "%", "%Y%", "Etc/../UTC", "a" * 300, "/etc/localtime", "é", "%Q"):
            yield "bars.csv", genuine.CSV, {name: value}
    for skip in (10**6, 2**31, 2**63):
        yield "bars.csv", genuine.CSV, {"skip_rows": skip}


def notebook_written() -> Iterator[tuple[Any, ...]]:
    for data in (
        b"", b"[]", b"null", b"1", b'"x"', b"{}", b"[" * 100_000, b'{"a":' * 100_000, b"\x00", b"NaN", b"1" * 100_000,
        b'{"nbformat": 4, "cells": ' + b"[" * 500 + b"]" * 500 + b"}", b'{"nbformat": %s, "cells": []}' % (b"4" * 5000),
        genuine.NOTEBOOK.replace(b"# Title", b"\\ud800"), genuine.NOTEBOOK.replace(b'"metadata": {}',
        b'"metadata": null'),
    ):  # fmt: skip
        yield "n.ipynb", data
    for source in ("run_id = " + "(" * 500, "run_id = None\nx = " + "-" * 100_000 + "1", "\0", "run_id = '\\ud800'",
    "\x0c",
                   "run_id = " + "9" * 5000, "run_id = 1" + "+1" * 20_000,
                   "run_id = None; x = " + "[" * 90 + "]" * 90):  # fmt: skip
        notebook = json.loads(genuine.NOTEBOOK)
        notebook["cells"][1]["source"] = source
        yield "n.ipynb", json.dumps(notebook).encode()
    for place in ("metadata", "cells", "nbformat", "nbformat_minor"):
        for value in VALUES[:20]:
            yield "n.ipynb", json.dumps(json.loads(genuine.NOTEBOOK) | {place: value}).encode("utf-8", "surrogatepass")


def ledger_written() -> Iterator[tuple[Any, ...]]:
    for data in (b"", b"\n", b"\n" * 1000, b"\x00" * 100_000, b"[" * 100_000 + b"\n", b"{}\n", b"null\n",
    b"1" * 200_000,
                 genuine.LEDGER[:-1], genuine.LEDGER + b"x", genuine.LEDGER * 2, b"\n" + genuine.LEDGER,
                 genuine.LEDGER.replace(b"\n", b"\r\n"), genuine.ledger_of(genuine.ledger_entries(),
                 signed=False)):  # fmt: skip
        yield "ledger.jsonl", data


def trust_written() -> Iterator[tuple[Any, ...]]:
    yield from toml_extremes("trusted_keys.toml")
    for key in ("", "AQ==", "AAAA" * 11, "A" * 43 + "=", "x" * 100_000, "-----BEGIN PUBLIC KEY-----", "é", "\\u0000"):
        yield "trusted_keys.toml", f'[[keys]]\nname = "a"\npublic_key = "{key}"\n'.encode()


def bundle_written() -> Iterator[tuple[Any, ...]]:
    for data in (b"", b"PK\5\6" + b"\0" * 18, b"PK\3\4" * 100, genuine.BUNDLE[:-1], genuine.BUNDLE * 2,
    b"x" * 22 + genuine.BUNDLE,
                 mutations.zipped({"evidence-x/a": b"0" * 10**7}), mutations.zipped({"../a": b""}, 0),
                 mutations.zipped({}),
                 mutations.zipped({f"evidence-x/{n}": b"" for n in range(10_050)}, 0)):  # fmt: skip
        yield "evidence.zip", data
    for name in bundle_files():
        for data in (b"", b"{}", b"null", b"[" * 100_000, b'{"a":' + b"1" * 3_000_000 + b"}", b"\xff"):
            yield "evidence.zip", bundle_of({**bundle_files(), name: data})


def site_written() -> Iterator[tuple[Any, ...]]:
    yield from toml_extremes("config/site.toml")
    for pattern in ("(a+)+$", "(?i)x", "(", "[", "*", "(?P<", "(?R)", "(?<=a+)b", "a{1000000}",
    "(" * 500 + ")" * 500, "\\\\", "é",
                    "(a{1,1000}){1,1000}", "(?:" * 2000 + ")" * 2000, "(?#", "\\\\p{Nothing}", "(?1)",
                    "a{99999999999}"):  # fmt: skip
        yield "config/site.toml", f'[public]\npatterns = ["{pattern}"]\n'.encode()


def list_written() -> Iterator[tuple[Any, ...]]:
    for data in (genuine.PUBLIC, genuine.PUBLIC[:-1], genuine.PUBLIC * 2):
        yield "evidence.zip", data


def list_mutated(rng: random.Random) -> tuple[Any, ...]:
    """Let the owner of the key sign a list of files that says something else, of a whole or a public bundle."""
    whole = rng.choice([genuine.BUNDLE, genuine.PUBLIC, genuine.PUBLIC])
    files = bundle_files(whole)
    statement = json.loads(read_envelope(files["bundle.dsse.json"]).payload)
    part = rng.choice([statement, *[statement["predicate"]] * 4])
    mutations.change_value(rng, part)
    try:
        files["bundle.dsse.json"] = make_envelope(canonical(statement), STATEMENT, genuine.SIGNER)
    except (ValueError, TypeError, AttributeError):  # what no JSON of ours can hold cannot be signed by us
        return "evidence.zip", mutations.some_bytes(rng, whole)
    files["SHA256SUMS"] = sums({name: sha256_bytes(data) for name, data in files.items()})
    return "evidence.zip", bundle_of(files, whole)


def bundle_files(whole: bytes = genuine.BUNDLE) -> dict[str, bytes]:
    """The files of a genuine bundle, by their names in its folder."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def bundle_of(files: dict[str, bytes], whole: bytes = genuine.BUNDLE) -> bytes:
    """Pack files as a bundle is packed, whatever they hold."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        folder = archive.namelist()[0].partition("/")[0]
    write_zip(out, folder, files)
    return out.getvalue()


def of_toml(name: str, data: bytes) -> Any:
    """Return a source of mutated TOML documents."""
    ways = [mutations.some_bytes, mutations.a_line, mutations.a_number, *[mutations.a_toml_value] * 3]
    return lambda rng: (name, rng.choice(ways)(rng, data))


def data_mutated(rng: random.Random) -> tuple[Any, ...]:
    how = rng.randrange(10)
    if how < 5:
        change = rng.choice(
            [mutations.a_cell, mutations.a_cell, mutations.some_bytes, mutations.a_line, mutations.a_number]
        )
        return rng.choice(["bars.csv", "bars.txt", "bars.tsv"]), change(rng, genuine.CSV)
    if how < 8:
        suffix = rng.choice([".parquet", ".parquet", ".feather"])
        return f"bars{suffix}", mutations.some_bytes(rng, COLUMNAR[suffix])
    suffix = rng.choice([*PACKERS])
    whole = PACKERS[suffix](mutations.a_cell(rng, genuine.CSV) if how == 8 else genuine.CSV)
    return f"bars.csv{suffix}", whole if how == 8 else mutations.some_bytes(rng, whole)


def notebook_mutated(rng: random.Random) -> tuple[Any, ...]:
    ways = [mutations.some_bytes, mutations.a_line, mutations.a_number, *[mutations.a_json_value] * 5]
    return "n.ipynb", rng.choice(ways)(rng, genuine.NOTEBOOK)


def ledger_mutated(rng: random.Random) -> tuple[Any, ...]:
    how = rng.randrange(6)
    if how < 3:
        ways = [mutations.some_bytes, mutations.a_line, mutations.a_number]
        return "ledger.jsonl", ways[how](rng, rng.choice([genuine.LEDGER, genuine.LEDGER_2]))
    version = rng.choice([1, 2])
    entries = [{**entry, "version": version} for entry in genuine.ledger_entries()]
    at = rng.randrange(len(entries))
    if how == 3:  # well chained and signed, whatever it says
        entries[at]["details"] = mutations.change_value(
            rng, {"batch": 0, "trials": 1, "origin": "x", "file": "y", "result": {}}
        )
    elif how == 4:
        entries[at][rng.choice(["kind", "run_id", "subject_sha256", "strategy", "time"])] = rng.choice(
            [v for v in VALUES if v == v]
        )
    else:
        entries.insert(at, dict(rng.choice(entries)))
    try:
        return "ledger.jsonl", genuine.ledger_of(entries, signed=rng.random() < 0.7)
    except (ValueError, TypeError, AttributeError):  # what no JSON of ours can hold cannot be signed by us
        return "ledger.jsonl", mutations.some_bytes(rng, genuine.LEDGER)


def bundle_mutated(rng: random.Random) -> tuple[Any, ...]:
    if rng.random() < 0.4:
        return "evidence.zip", rng.choice([mutations.some_bytes, mutations.a_number])(rng, genuine.BUNDLE)
    files = bundle_files()
    name = rng.choice([*files])
    if rng.random() < 0.5 and name.endswith(".json"):
        files[name] = mutations.a_json_value(rng, files[name])
    elif rng.random() < 0.8:
        files[name] = mutations.some_bytes(rng, files[name])
    else:
        files[rng.choice(["a", "../a", "a\\b", "é", "e\u0301", "KEYS/x", "keys/x.pem", "json.py", "C:a", "a/./b"])] = (
            files.pop(name)
        )
    return "evidence.zip", bundle_of(files)


COLUMNAR = {suffix: genuine.columnar(suffix) for suffix in (".parquet", ".feather")}
WRITTEN = {
    "spec": spec_written, "sweep": sweep_written, "data": data_written, "notebook": notebook_written,
    "ledger": ledger_written, "trust": trust_written, "bundle": bundle_written, "site": site_written,
    "list": list_written,
}  # fmt: skip
MUTATED = {
    "spec": of_toml("run.toml", genuine.SPEC), "sweep": of_toml("sweep.toml", genuine.SWEEP), "data": data_mutated,
    "notebook": notebook_mutated, "ledger": ledger_mutated, "trust": of_toml("trusted_keys.toml", genuine.TRUST_FILE),
    "bundle": bundle_mutated, "list": list_mutated, "site": of_toml("config/site.toml", genuine.SITE),
}  # fmt: skip
