"""The Process Run Crate: checked by roc-validator without a network, the same bytes each time."""

from __future__ import annotations

import importlib.resources
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.digest import sha256_file
from pipeline.errors import EvidenceError, UsageError, VerificationError
from pipeline.evidence.inputs import keep_inputs
from pipeline.evidence.rocrate import TERMS, Credit, write_crate
from pipeline.run import Run
from pipeline.settings import Settings
from tests.replay.runs import NOTEBOOK, sealed_run

# roc-validator uses what rdflib and requests-cache call deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
ACCEPT = {"Accept": "application/ld+json, application/json"}
# The names our crates use that the context of RO-Crate 1.1 defines.
TERMS_OF_1_1 = (
    "CreateAction", "CreativeWork", "Dataset", "File", "Organization", "Person", "PropertyValue", "SoftwareApplication",
    "WebSite", "about", "actionStatus", "affiliation", "agent", "author", "conformsTo", "contentSize", "datePublished",
    "description", "encodingFormat", "endTime", "error", "hasPart", "instrument", "license", "mentions", "name",
    "object", "publisher", "result", "startTime", "url", "value", "version",
)  # fmt: skip


def context() -> bytes:
    """Return a context of those terms only, as the installed `rocrate` defines them: any other term is an error."""
    text = importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_text("utf-8")
    defined = json.loads(text)["@context"]
    return json.dumps({"@id": CONTEXT, "@context": {term: defined[term] for term in TERMS_OF_1_1}}).encode()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache of the validator that holds the one document it would fetch."""
    requests = pytest.importorskip("requests")
    pytest.importorskip("rocrate_validator")
    from requests_cache import CachedSession
    from urllib3 import HTTPResponse

    class Given(requests.adapters.BaseAdapter):  # type: ignore[misc, name-defined]
        def send(self, request: Any, **_: Any) -> Any:
            response = requests.Response()
            response.status_code, response.url, response.request = 200, request.url, request
            response.headers["Content-Type"] = "application/ld+json"
            response.raw = HTTPResponse(io.BytesIO(context()), preload_content=False, request_url=request.url)
            return response

        def close(self) -> None:
            pass

    path = tmp_path_factory.mktemp("validator") / "cache"
    session = CachedSession(str(path), backend="sqlite", expire_after=-1)
    session.mount("https://", Given())
    session.get(CONTEXT, headers=ACCEPT)
    session.close()
    return path


def problems(crate: Path, cache: Path) -> list[str]:
    """Validate against the profile, REQUIRED and RECOMMENDED, offline; every check must have been executed."""
    from rocrate_validator import models, services

    settings = services.ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier="process-run-crate-0.5",
        requirement_severity=models.Severity.RECOMMENDED,
        offline=True,
        cache_path=str(cache),
    )
    result = services.validate(settings)
    assert len(result.executed_checks) > 90
    assert not result.skipped_checks
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((crate / "ro-crate-metadata.json").read_bytes())["@graph"]
    return {entity["@id"]: entity for entity in graph}


def keep_all(small: Settings, run: Run) -> None:
    """Keep the run's inputs, as a run does when it is opened."""
    files = {"data": small.root / "data" / "bars.csv", "notebook": small.root / NOTEBOOK}
    keep_inputs(small.results, {name: (path, sha256_file(path)) for name, path in files.items()})


@pytest.mark.slow
def test_the_validator_is_content(small: Settings, tmp_path: Path, cache: Path) -> None:
    """REQUIRED and RECOMMENDED are green for a finished run with its inputs and for a failed one without."""
    finished = sealed_run(small)
    keep_all(small, finished)
    assert problems(write_crate(finished.dir, tmp_path / "finished"), cache) == []
    failed = sealed_run(small, error=True)
    credit = Credit("A. Person", "A University", "https://university.example/", "https://licence.example/")
    crate = write_crate(failed.dir, tmp_path / "failed", credit)
    assert problems(crate, cache) == []
    action = entities(crate)[f"#{failed.run_id}"]
    assert action["actionStatus"].endswith("FailedActionStatus")
    assert action["error"] == "no luck"
    assert entities(crate)["#agent"]["name"] == "A. Person"


@pytest.mark.slow
def test_the_validator_notices(small: Settings, tmp_path: Path, cache: Path) -> None:
    """The check is a check: without its instrument the action is refused."""
    crate = write_crate(sealed_run(small).dir, tmp_path / "crate")
    path = crate / "ro-crate-metadata.json"
    metadata = json.loads(path.read_bytes())
    for entity in metadata["@graph"]:
        entity.pop("instrument", None)
    path.write_text(json.dumps(metadata))
    assert any("instrument" in problem for problem in problems(crate, cache))


def test_the_crate_says_what_the_run_says(small: Settings, tmp_path: Path) -> None:
    """Every file of the run is there with its sealed digest, the inputs too; the spec is what the action was given."""
    run = sealed_run(small)
    keep_all(small, run)
    crate = write_crate(run.dir, tmp_path / "crate")
    found = entities(crate)
    for artifact in run.artifacts:
        assert found[artifact.path]["sha256"] == artifact.sha256
        assert found[artifact.path]["contentSize"] == str(artifact.size)
        assert sha256_file(crate / artifact.path) == artifact.sha256
    assert sha256_file(crate / "manifest.json") == run.manifest_digest
    assert run.record.data is not None
    assert sha256_file(crate / "inputs" / "data.csv") == run.record.data.sha256
    assert "inputs/notebook.ipynb" in found
    assert found["#spec-run.seed"]["value"] == 3
    objects = {item["@id"] for item in found[f"#{run.run_id}"]["object"]}
    assert {"inputs/data.csv", "inputs/notebook.ipynb", "#spec-data.source"} <= objects
    used = {key for entity in found.values() for key in entity if not key.startswith("@")}
    assert used - set(TERMS_OF_1_1) == set(TERMS)


def test_equal_runs_give_equal_crates(small: Settings, tmp_path: Path) -> None:
    """Nothing but the run decides: no clock, no machine, no order of files."""
    run = sealed_run(small)
    crates = [write_crate(run.dir, tmp_path / name) for name in ("a", "b")]
    files = [
        {p.relative_to(crate).as_posix(): p.read_bytes() for p in crate.rglob("*") if p.is_file()} for crate in crates
    ]
    assert files[0] == files[1]
    assert str(tmp_path) not in files[0]["ro-crate-metadata.json"].decode()


def test_what_is_refused(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing target, a run that does not match its seal, a missing package: said so, nothing written."""
    run = sealed_run(small)
    with pytest.raises(UsageError, match="is there already"):
        write_crate(run.dir, tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "rocrate.rocrate", None)
        with pytest.raises(EvidenceError, match=r"pip install 'evidence-chain\[export\]'"):
            write_crate(run.dir, tmp_path / "crate")
    run.dir.stats.write_text("{}")
    with pytest.raises(VerificationError, match=r"stats\.json"):
        write_crate(run.dir, tmp_path / "crate")
    assert not (tmp_path / "crate").exists()
