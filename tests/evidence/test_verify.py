"""The seal: nothing in a sealed run directory can change without being found and named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.digest import canonical_json
from pipeline.errors import ArtifactError, VerificationError
from pipeline.evidence.verify import verify_run
from pipeline.files import write_atomic
from pipeline.run import all_runs
from pipeline.rundir import RunDir, new_run_id
from pipeline.settings import Settings
from tests.evidence.sealed_runs import World, new_signer
from tests.privileges import without_privileges
from tests.sealing import write_seal
from tests.tiers import mostly_slow

FILES = {
    "stats.json": b'{"sharpe": 1.0}\n',
    "equity.csv": b"timestamp,equity\n",
    "plots/equity_curve.png": b"\x89PNG",
    "empty": b"",
}


def seal(run: RunDir) -> str:
    return write_seal(run, {"run": {"name": "x"}})


@pytest.fixture
def sealed(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path, new_run_id())
    for name, data in FILES.items():
        write_atomic(run.path / name, data)
    seal(run)
    return run


def kinds(run: RunDir) -> list[tuple[str, str]]:
    return [(problem.path, problem.kind) for problem in verify_run(run).problems]


def test_an_untouched_run_verifies(sealed: RunDir) -> None:
    """No false alarm, and the number of files is the number of files."""
    verification = verify_run(sealed)
    assert verification.ok
    assert verification.files == len(FILES)
    verification.raise_for_problems()


def test_the_report_may_come_and_change(sealed: RunDir) -> None:
    """The report is a view: rendering it again leaves the evidence as it was."""
    write_atomic(sealed.report, b"<html>")
    assert verify_run(sealed).ok


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found(sealed: RunDir, data: st.DataObject) -> None:
    """Flip any bit of any sealed file, cut it or append to it: that file, and only it, is named."""
    name = data.draw(st.sampled_from([name for name, content in FILES.items() if content]))
    path = sealed.path / name
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    flipped = bytearray(before)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    changed = data.draw(st.sampled_from([bytes(flipped), before[:place], before + b"\0"]))
    try:
        path.write_bytes(changed)
        assert kinds(sealed) == [(name, "edited")]
    finally:
        path.write_bytes(before)
    assert verify_run(sealed).ok


def test_added_removed_and_renamed_files_are_named(sealed: RunDir) -> None:
    """The seal covers the list of files, not only their contents; hidden files count."""
    (sealed.path / ".hidden").write_bytes(b"")
    (sealed.path / "plots" / "new.png").write_bytes(b"")
    (sealed.path / "stats.json").rename(sealed.path / "Stats.json")
    assert kinds(sealed) == [
        ("stats.json", "missing"),
        (".hidden", "added"),
        ("Stats.json", "added"),
        ("plots/new.png", "added"),
    ]


def test_two_files_swapped_are_both_named(sealed: RunDir) -> None:
    """Contents belong to names: swapping two files edits both."""
    a, b = sealed.path / "stats.json", sealed.path / "equity.csv"
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)
    assert kinds(sealed) == [("equity.csv", "edited"), ("stats.json", "edited")]


def test_a_link_in_place_of_a_file_is_named(sealed: RunDir, tmp_path: Path) -> None:
    """A symbolic link to the same bytes elsewhere is not the sealed file."""
    shutil.copy(sealed.stats, tmp_path / "elsewhere")
    sealed.stats.unlink()
    sealed.stats.symlink_to(tmp_path / "elsewhere")
    assert kinds(sealed) == [("stats.json", "edited")]


def test_a_manifest_of_another_run_is_named(sealed: RunDir, tmp_path: Path) -> None:
    """A run directory copied under another run_id does not verify."""
    other = RunDir.create(tmp_path, new_run_id())
    shutil.copytree(sealed.path, other.path, dirs_exist_ok=True)
    assert kinds(other) == [("manifest.json", "renamed")]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b"{}",
        b"not json",
        b'{"subject": 1, "predicate": {}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_manifest_is_a_problem_not_a_crash(sealed: RunDir, damage: bytes) -> None:
    """Whatever stands in the manifest's place, verification answers."""
    sealed.manifest.write_bytes(damage)
    assert kinds(sealed) == [("manifest.json", "edited")]


def test_a_reformatted_manifest_is_named(sealed: RunDir) -> None:
    """JSON edited without changing its meaning is still an edit: duplicate keys and white space are found."""
    text = sealed.manifest.read_bytes()
    sealed.manifest.write_bytes(json.dumps(json.loads(text), indent=1).encode())
    assert kinds(sealed) == [("manifest.json", "edited")]
    sealed.manifest.write_bytes(text.replace(b'{"_type"', b'{"_type":"x","_type"', 1))
    assert kinds(sealed) == [("manifest.json", "edited")]


def test_a_newer_schema_is_named(sealed: RunDir) -> None:
    """A manifest this version does not know is refused, not half understood."""
    manifest = json.loads(sealed.manifest.read_bytes())
    manifest["predicate"]["evidence_run"]["schema_version"] = 99
    sealed.manifest.write_bytes(canonical_json(manifest))
    assert kinds(sealed) == [("manifest.json", "unknown schema")]


def test_a_run_without_a_manifest_is_unsealed(tmp_path: Path) -> None:
    """An interrupted run never verifies."""
    run = RunDir.create(tmp_path, new_run_id())
    assert kinds(run) == [("manifest.json", "unsealed")]
    with pytest.raises(VerificationError, match="never sealed"):
        verify_run(run).raise_for_problems()


@pytest.mark.parametrize(
    "name", mostly_slow(["plots", "", "manifest.json", "manifest.dsse.json", "report", "report/index.html"])
)
def test_what_may_not_be_read_is_a_problem_not_a_crash(tmp_path: Path, name: str) -> None:
    """A colleague's private file or directory: named, and the other runs are verified and listed all the same."""
    world = World(tmp_path / "results", new_signer())
    closed, other = world.run(), world.run()
    settings = f"Settings(Path({str(tmp_path)!r}), Path({str(world.results)!r}))"
    code = f"""
from pathlib import Path
from pipeline.run_row import RunRow
from pipeline.cli.output import print_runs
from pipeline.run_row import RunRow
from pipeline.evidence.verify_all import verify_all
from pipeline.run import all_runs
from pipeline.settings import Settings
for found in verify_all(Path({str(world.results)!r})):
    print(found.run_id, found.ok, *found.problems)
for run in all_runs(settings={settings}):
    print(run.run_id, run.status, run.manifest_digest)
    for as_json in (True, False):
        print_runs([RunRow.of(run)], total=1, as_json=as_json)
"""
    path = closed.path / name
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        printed = without_privileges(code)
    finally:
        path.chmod(mode)
    assert f"{other.run_id} True\n" in printed
    kind = "bad signature" if name == closed.signature.name else "edited"
    assert f"{closed.run_id} False {name or 'manifest.json'}: {kind}: it cannot be read" in printed
    status = "UNREADABLE None" if name in {"", "manifest.json"} else "FINISHED"
    assert f"{closed.run_id} {status}" in printed


@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(sealed: RunDir) -> None:
    """A named pipe in the place of the manifest is no manifest, and holds no list of runs up."""
    sealed.manifest.unlink()
    os.mkfifo(sealed.manifest)
    assert [run.status for run in all_runs(settings=Settings(sealed.results, sealed.results))] == ["UNREADABLE"]
    assert kinds(sealed) == [("manifest.json", "unsealed")]


def test_times_and_permissions_do_not_matter(sealed: RunDir) -> None:
    """No false alarm after a copy that keeps neither times nor modes."""
    os.utime(sealed.stats, (0, 0))
    sealed.stats.chmod(0o600)
    assert verify_run(sealed).ok


@pytest.mark.parametrize("name", ["X:BTCUSD.csv", "a\\b.csv", os.fsdecode(b"caf\xe9.csv")])
def test_a_name_that_would_not_verify_is_never_sealed(tmp_path: Path, name: str) -> None:
    """What verification refuses is refused when there is somebody who can change it: a sealed run verifies."""
    with pytest.raises(ArtifactError, match="cannot be sealed: have the notebook name it"):
        World(tmp_path / "results", None).run(files={"config_snapshot.json": b"{}", name: b"x"})


def test_a_link_is_never_sealed(tmp_path: Path) -> None:
    """A run directory holds regular files only: sealing one with a link in it is refused."""
    run = RunDir.create(tmp_path, new_run_id())
    (run.path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match="regular file"):
        seal(run)
    assert not run.manifest.exists()
