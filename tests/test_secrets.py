"""Secrets of a run: the kernel is given them, and its evidence holds none."""

from __future__ import annotations

import html
import json
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from zipfile import ZipFile

import pytest
from nbformat import v4

from pipeline.errors import CellFailedError, SpecError, UsageError
from pipeline.evidence.bundle import make_bundle
from pipeline.evidence.verify import verify_run
from pipeline.notebook.masked import mask_notebook
from pipeline.replay import find_reusable, replay_run
from pipeline.runner import RunOutcome, run_backtest
from pipeline.secrets import FOR_THE_KERNEL, Secrets, filled, masked_overrides, masked_toml, of_environment, variable
from pipeline.settings import Settings
from pipeline.site.build import build_site
from pipeline.spec import RunSpec, parse_spec
from pipeline.sweep.spec import SweepSpec
from tests.notebooks import ARTIFACTS, write_notebook

TOKEN = "tok-5f'9\"Zq/7é<b>\\x"  # what JSON, Python, HTML and URLs write in other ways
PASSWORD = "hunter2-and-more"
VARIABLE = "wJalrXUtnFEMI-K7MDENG"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQ\n-----END KEY-----"


def secrets(**parameters: object) -> Secrets:
    return Secrets.of_run(RunSpec.from_mapping({"run": {"parameters": parameters}}), {})


def test_a_value_is_found_in_all_forms() -> None:
    """As it is, and as source, JSON, HTML and URLs write it; so are the lines of a long one, and a URL's password."""
    known = secrets(api_token=TOKEN, private_key=PEM, store=f"postgresql://me:{PASSWORD}@host/db")
    for form in (TOKEN, repr(TOKEN), json.dumps(TOKEN), json.dumps(TOKEN, ensure_ascii=False), html.escape(TOKEN)):
        assert known.hidden(f"a {form} b").replace("'", "").replace('"', "") == "a *** b"
    assert known.hidden(quote(TOKEN, safe="")) == "***"
    assert known.hidden(PEM) == "***"
    assert known.hidden(f"second line: {PEM.splitlines()[1]}") == "second line: ***"
    assert known.hidden(f"connecting as me:{PASSWORD}") == "connecting as me:***"
    twice = json.dumps({"text": repr({"token": TOKEN})}).encode()
    assert known.named_in(twice) == ["run.parameters.api_token"]
    assert TOKEN not in repr(known)


@pytest.mark.parametrize("value", ["abc", "true", "momentum", "CLOSE", "20200131", "1.5"])
def test_what_occurs_by_chance_is_not_looked_for(value: str) -> None:
    """A short text, a plain word or a number would be masked all over; that it is not looked for is said."""
    known = secrets(key=value)
    assert known.hidden(f"the {value} of it") == f"the {value} of it"
    assert known.overlooked() == ["run.parameters.key"]


def test_a_short_value_is_looked_for_as_a_word() -> None:
    """Six or seven characters occur in digests: only between what is no letter or digit."""
    known = secrets(api_token="a1b2c3")
    assert known.hidden("a1b2c3, (a1b2c3) 9a1b2c3f") == "***, (***) 9a1b2c3f"
    assert known.named_in(b"9a1b2c3f") == []
    assert known.named_in(b"9a1b2c3f a1b2c3") == ["run.parameters.api_token"]


def test_an_environment_in_another_encoding_is_no_obstacle() -> None:
    """A variable may hold any bytes."""
    known = Secrets({}, of_environment({"API_TOKEN": "caf\udce9-au-lait"}))
    assert known.hidden("caf\udce9-au-lait") == "***"
    assert known.named_in(b"x caf\xe9-au-lait") == ["env:API_TOKEN"]


def test_the_environment_s_secrets(tmp_path: Path) -> None:
    """Names of secrets and URLs with one; neither directories, names of files, switches nor plain words."""
    given = {
        "API_TOKEN": VARIABLE,
        "DATABASE_URL": f"postgresql://me:{PASSWORD}@host/db",
        "PWD": "/a/place-3",
        "SSL_KEY": str(tmp_path),
        "HOME": VARIABLE,
        "USE_TOKEN": "true",
        "TOKENIZERS_PARALLELISM": "false-ish-9",
    }
    assert of_environment(given) == {f"env:{name}": given[name] for name in ("API_TOKEN", "DATABASE_URL")}


def test_the_spec_as_given_is_written_anew() -> None:
    """Its snapshot says what was masked, and reads back; without a secret it keeps every byte."""
    given = (
        f"# my token is {TOKEN}\n[run]\nseed = 3\n[run.parameters]\napi_token = {json.dumps(TOKEN)}\nn = 1\n".encode()
    )
    shown = masked_toml(given)
    assert tomllib.loads(shown.decode()) == {"run": {"seed": 3, "parameters": {"api_token": "***", "n": 1}}}
    assert shown.startswith(b"# Not as given: run.parameters.api_token masked, and without the comments.\n")
    assert "tok-" not in shown.decode()
    plain = b"# a comment\n[strategy.params]\nkey =  'fast'   # visible\n"
    assert masked_toml(plain) == plain


def test_overrides_are_masked_however_they_are_written() -> None:
    """By the key itself, by a table above it, or below it; params of the strategy stay."""
    assert masked_overrides(
        {
            "run.parameters.api_token": TOKEN,
            "run.parameters": {"db": {"password": "x"}, "n": 1},
            "run.parameters.credentials.binance": "k",
            "strategy.params.key": "fast",
        }
    ) == {
        "run.parameters.api_token": "***",
        "run.parameters": {"db": {"password": "***"}, "n": 1},
        "run.parameters.credentials.binance": "***",
        "strategy.params.key": "fast",
    }


def test_a_masked_value_comes_from_the_environment() -> None:
    """Each by a variable named after it; without it the error says which is needed, and where to put it."""
    spec = RunSpec.from_mapping({"run": {"parameters": {"api_token": "***", "db": {"passwords": ["***", "***"]}}}})
    assert variable("db.passwords[1]") == "EVIDENCE_PARAM_DB_PASSWORDS_1"
    with pytest.raises(SpecError, match=r"run\.parameters\.api_token, .*EVIDENCE_PARAM_DB_PASSWORDS_0; .*-p run"):
        filled(spec, {"EVIDENCE_PARAM_DB_PASSWORDS_1": "b"})
    values = {"API_TOKEN": "a", "DB_PASSWORDS_0": "b", "DB_PASSWORDS_1": "c"}
    found = filled(spec, {f"EVIDENCE_PARAM_{name}": value for name, value in values.items()})
    assert found.run.parameters == {"api_token": "a", "db": {"passwords": ["b", "c"]}}


def test_an_error_about_the_spec_shows_no_secret() -> None:
    """What a message quotes of the parameters is masked."""
    with pytest.raises(SpecError) as caught:
        parse_spec(b"", {"run.parameters": {"api_token": TOKEN, "seed": 3}})
    assert "tok-" not in str(caught.value)


def test_no_search_over_secrets() -> None:
    """Trials that differ in a masked value only would be one and the same in the record."""
    space = {"run.parameters.api_token": ["a", "b"]}
    with pytest.raises(SpecError, match="a secret is masked, so trials could not be told apart by it"):
        SweepSpec.from_mapping({"sweep": {"mode": "full"}, "space": space})


def test_a_notebook_is_masked_in_every_part(tmp_path: Path) -> None:
    """The injected cell, the record of its values, sources, outputs of every kind; what is no secret stays."""
    known = secrets(api_token=TOKEN, pin="short", password="swordfish")
    injected = v4.new_code_cell(
        f"api_token = {TOKEN!r}\npassword = 'swordfish'", metadata={"tags": ["injected-parameters"]}
    )
    cell = v4.new_code_cell(f"call({TOKEN!r})")
    cell.outputs = [
        v4.new_output("stream", name="stdout", text=f"token {TOKEN}\nswordfish\n"),
        v4.new_output("execute_result", {"text/plain": repr({"t": TOKEN}), "application/json": {"a": [TOKEN]}}),
        v4.new_output("error", ename="E", evalue=f"bad {TOKEN}", traceback=["\x1b[31mE\x1b[0m", f"bad {TOKEN!r}"]),
    ]
    metadata = {"papermill": {"parameters": {"api_token": TOKEN, "password": "swordfish"}}, "note": TOKEN}
    path = tmp_path / "notebook.ipynb"
    path.write_text(json.dumps(v4.new_notebook(cells=[injected, cell], metadata=metadata)))
    shown = {"api_token": "***", "password": "***", "n": 5}
    assert mask_notebook(path, known, shown) == ["run.parameters.api_token"]
    assert known.named_in(path.read_bytes()) == []
    nb = json.loads(path.read_bytes())
    assert "".join(nb["cells"][0]["source"]) == '# Parameters\napi_token = "***"\npassword = "***"\nn = 5\n'
    assert nb["metadata"]["papermill"]["parameters"] == shown
    assert "".join(nb["cells"][1]["outputs"][0]["text"]) == "token ***\nswordfish\n"
    assert nb["cells"][1]["outputs"][1]["data"]["application/json"] == {"a": ["***"]}


def test_a_notebook_that_was_cut_short_is_masked_as_text(tmp_path: Path) -> None:
    """A run that is killed while its notebook is written leaves no secret either."""
    path = tmp_path / "notebook.ipynb"
    path.write_text('{"cells": [{"source": "token = \'' + PASSWORD)
    mask_notebook(path, secrets(password=PASSWORD), {})
    assert path.read_text() == '{"cells": [{"source": "token = \'***'


# With a kernel.

PARAMETERS = "run_id = None\napi_token = ''\ndb = {}\nn_tokens = 0\nother_key: str = 'Sup3r-default'"
USE = f"""
import os, subprocess, sys
assert api_token == {TOKEN!r} and db == {{"password": {PASSWORD!r}, "user": "me"}} and n_tokens == 5
print(api_token, db, os.environ["VENDOR_API_KEY"])
print(os.environ)
subprocess.run([sys.executable, "-c", "import os, sys; os.write(2, os.environ['VENDOR_API_KEY'].encode())"])
os.write(2, db["password"].encode())
{{"token": api_token}}
"""
LOG = """
import mlflow
import pipeline
run = pipeline.start_run(run_id)
run.tracker.log_params({"headers": {"Authorization": f"Bearer {api_token}"}, "n": n_tokens})
run.tracker.set_tag("key", os.environ["VENDOR_API_KEY"])
mlflow.log_param("raw", api_token)
mlflow.log_params({"raw_db": db, "plain": "visible"})
mlflow.set_tag("raw_tag", db["password"])
with mlflow.start_run(nested=True, tags={"child": api_token}):
    mlflow.log_param("inner", db["password"])
"""


def planted(project: Settings, *cells: str, tracking: str = "strict") -> RunOutcome:
    write_notebook(project.root / "notebooks" / "secret.ipynb", *cells, parameters=PARAMETERS)
    parameters = f"[run.parameters]\napi_token = {json.dumps(TOKEN)}\nn_tokens = 5\ndb.password = '{PASSWORD}'\n"
    given = f"[run]\nnotebook = 'notebooks/secret.ipynb'\n[tracking]\nmode = '{tracking}'\n{parameters}".encode()
    overrides = {"run.parameters.db": {"password": PASSWORD, "user": "me"}}
    return run_backtest(parse_spec(given, overrides), settings=project, check=False, given=given, overrides=overrides)


def everything(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield all files below a directory, and what archives among them hold."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        yield str(path), path.read_bytes()
        if path.suffix == ".zip":
            with ZipFile(path) as archive:
                yield from ((f"{path}/{name}", archive.read(name)) for name in archive.namelist())


def assert_nothing_planted(*places: Path) -> None:
    known = Secrets({"token": TOKEN, "password": PASSWORD}, {"env": VARIABLE})
    holders = {name: known.named_in(data) for place in places for name, data in everything(place)}
    assert len(holders) > 10
    assert {name: found for name, found in holders.items() if found} == {}


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_API_KEY", VARIABLE)


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_no_byte_of_a_run_holds_a_planted_secret(project: Settings, tmp_path: Path) -> None:
    """Run directory, ledger, MLflow, report, bundle, website: the kernel had the values, and nothing keeps them."""
    outcome = planted(project, USE, LOG, ARTIFACTS)
    assert outcome.error is None, outcome.error
    run = outcome.run
    make_bundle(run.dir, tmp_path / "out" / "run.zip")
    build_site(project, tmp_path / "out" / "site")
    (project.root / "notebooks" / "secret.ipynb").unlink()  # the test's own file holds them
    for kept in (project.results / ".inputs").rglob("*.ipynb"):
        kept.unlink()
    assert_nothing_planted(project.root, tmp_path / "out")
    assert verify_run(run.dir).ok
    names = ["env:VENDOR_API_KEY", "notebook:other_key", "run.parameters.api_token", "run.parameters.db.password"]
    assert run.manifest is not None
    assert run.manifest["predicate"]["evidence_run"]["masked"] == names
    assert f"Masked as ***: {', '.join(names)}." in run.record.warnings
    db = {"password": "***", "user": "me"}
    assert run.config["run"]["parameters"] == {"api_token": "***", "db": db, "n_tokens": 5}
    assert run.record.overrides == {"run.parameters.db": db}
    assert "***" in run.dir.kernel_log.read_text()
    with sqlite3.connect(project.root / "mlflow.db") as store:
        params = dict(store.execute("select key, value from params").fetchall())
    store.close()
    assert params["raw"] == "***"
    assert params["plain"] == "visible"
    assert params["headers.Authorization"] == "Bearer ***"


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_an_exception_shows_no_secret(project: Settings) -> None:
    """Neither in the notebook, nor in the record of the failed run, nor in the error that is printed."""
    outcome = planted(project, "raise RuntimeError(f'refused: {api_token}, {db}')", tracking="off")
    assert isinstance(outcome.error, CellFailedError)
    assert outcome.error.evalue.startswith("refused: ***, ")
    assert "tok-" not in f"{outcome.error} {outcome.error.traceback}"
    (project.root / "notebooks" / "secret.ipynb").unlink()
    assert_nothing_planted(project.root)
    assert verify_run(outcome.run.dir).ok


@pytest.mark.slow
def test_a_replay_asks_for_the_value(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs the variables of the masked values, says so, and is equal with them; nothing is used again."""
    original = planted(project, "print(api_token)", ARTIFACTS, tracking="off").run
    with pytest.raises(UsageError, match="EVIDENCE_PARAM_API_TOKEN, EVIDENCE_PARAM_DB_PASSWORD"):
        replay_run(original, settings=project)
    monkeypatch.setenv("EVIDENCE_PARAM_API_TOKEN", TOKEN)
    monkeypatch.setenv("EVIDENCE_PARAM_DB_PASSWORD", PASSWORD)
    result = replay_run(original, settings=project)
    assert result.equal, list(result.lines())
    assert result.replay is not None
    (project.root / "notebooks" / "secret.ipynb").unlink()
    assert_nothing_planted(project.root)
    write_notebook(project.root / "notebooks" / "secret.ipynb", "print(api_token)", ARTIFACTS, parameters=PARAMETERS)
    found = find_reusable(RunSpec.from_mapping(original.config), project)
    assert found.run is None
    assert found.why.startswith("run.parameters.api_token, run.parameters.db.password is masked in every run")


@pytest.mark.slow
@pytest.mark.usefixtures("vendor")
def test_a_file_of_the_user_s_is_told_not_edited(project: Settings) -> None:
    """What the notebook writes itself, and the notebook as it was given, stay as they are: the seal warns of them."""
    write = f"(run_dir / 'notes.txt').write_text(os.environ['VENDOR_API_KEY'])\nknown = {PASSWORD!r}\nprint(other_key)"
    outcome = planted(project, ARTIFACTS, write, tracking="off")
    assert (outcome.run.dir.path / "notes.txt").read_text() == VARIABLE
    told = [text for text in outcome.warnings if text.startswith("SECRET: ")]
    assert [text.partition(".")[0] for text in told] == ["SECRET: notes", "SECRET: notebooks/secret"]
    assert "env:VENDOR_API_KEY" in told[0]
    assert "notebook:other_key, run.parameters.db.password" in told[1]
    executed = outcome.run.dir.notebook.read_text()
    assert "Sup3r-default" not in executed
    assert PASSWORD not in executed


def test_a_process_of_the_run_knows_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is told which values its tracker must not record, apart from those that occur by chance."""
    from pipeline.tracking.values import as_text

    told = secrets(api_token=TOKEN, password="abc").for_the_kernel()
    assert json.loads(told[FOR_THE_KERNEL]) == [TOKEN]
    assert json.loads(as_text({"t": TOKEN})) == {"t": TOKEN}
    monkeypatch.setenv(FOR_THE_KERNEL, told[FOR_THE_KERNEL])
    assert as_text({"t": TOKEN, "password": "abc"}) == '{"t": "***", "password": "abc"}'
