"""Restoring inputs, without executing anything: where each is found, and that nothing of the project is touched."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.digest import sha256_file
from pipeline.errors import UsageError
from pipeline.evidence.compare import Inputs, read_inputs
from pipeline.evidence.inputs import keep_inputs
from pipeline.replay.importable import present_modules
from pipeline.replay.restore import Workspace, workspace
from pipeline.rundir import INPUTS_DIR
from pipeline.settings import Settings
from tests.replay.runs import HELPER, NOTEBOOK, commit, git, sealed_run, small_spec

OLD = "timestamp,close\n2020-01-01,1.5\n"
NEW = "timestamp,close\n2020-01-01,9.5\n"


def recorded(small: Settings, **sections: dict[str, Any]) -> tuple[dict[str, Any], Inputs]:
    """Return spec and inputs of a run sealed now, its inputs kept."""
    run = sealed_run(small, sections=sections, modules=present_modules(["helper"], small.root))
    assert run.manifest is not None
    source = small.root / run.config["data"]["source"]
    files = {"data": source, "notebook": small.root / NOTEBOOK}
    keep_inputs(small.results, {name: (path, sha256_file(path)) for name, path in files.items()})
    return run.config, read_inputs(run.manifest)


def forget_kept(small: Settings) -> None:
    shutil.rmtree(small.results / INPUTS_DIR)


def change_all(small: Settings) -> None:
    (small.root / "helper.py").write_text(HELPER + "# changed\n")
    (small.root / "data" / "bars.csv").write_text(NEW)
    (small.root / NOTEBOOK).write_text((small.root / NOTEBOOK).read_text().replace("value", "other"))


def assert_restored(space: Workspace, inputs: Inputs) -> None:
    assert all(item.exact for item in space.restored), [str(item) for item in space.restored]
    assert sha256_file(space.root / space.spec["data"]["source"]) == inputs.data
    assert sha256_file(space.root / space.spec["run"]["notebook"]) == inputs.notebook
    assert present_modules(inputs.modules, space.root) == inputs.modules


def snapshot(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and "results" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files if ".git" not in path.parts}


def test_an_untouched_project_is_its_own_workspace(small: Settings) -> None:
    """Nothing is copied when nothing has changed."""
    spec, inputs = recorded(small)
    with workspace(spec, inputs, small) as space:
        assert space.root == small.root
        assert space.spec == spec
        assert_restored(space, inputs)


def test_everything_from_the_commit(small: Settings) -> None:
    """Code, data and notebook of the commit, in a work tree that is gone afterwards, also after an exception."""
    spec, inputs = recorded(small)
    forget_kept(small)
    change_all(small)
    before = snapshot(small.root)

    def restore() -> None:
        with workspace(spec, inputs, small) as space:
            assert small.root not in space.root.parents
            assert_restored(space, inputs)
            roots.append(space.root)
            raise KeyboardInterrupt

    roots: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        restore()
    assert not roots[0].exists()
    assert len(git(small.root, "worktree", "list").splitlines()) == 1
    assert snapshot(small.root) == before


def test_a_project_below_the_top_of_its_repository(small: Settings) -> None:
    """The workspace is the same directory of the commit, not the top of the repository."""
    inner = small.root / "inner" / "project"
    shutil.copytree(small.root, inner, ignore=shutil.ignore_patterns(".git", "results", "inner"))
    commit(small.root)
    project = Settings(inner, inner / "results")
    spec, inputs = recorded(project)
    forget_kept(project)
    change_all(project)
    with workspace(spec, inputs, project) as space:
        assert space.root.parts[-2:] == ("inner", "project")
        assert_restored(space, inputs)


def test_ignored_data_of_the_project_is_used_in_a_work_tree(small: Settings) -> None:
    """Data that git does not hold and that has not changed is linked into the work tree."""
    (small.root / ".gitignore").write_text("/results/\ndata/\n__pycache__/\n")
    git(small.root, "rm", "-q", "-r", "--cached", "data")
    commit(small.root)
    spec, inputs = recorded(small)
    forget_kept(small)
    (small.root / "helper.py").write_text(HELPER + "# changed\n")
    with workspace(spec, inputs, small) as space:
        assert space.root != small.root
        assert_restored(space, inputs)


def test_links_out_of_a_work_tree_are_not_written_through(small: Settings) -> None:
    """A committed link to a directory elsewhere keeps its files: the kept copy is named in the spec instead."""
    outside = small.root.parent / "outside"
    shutil.move(small.root / "data", outside)
    (small.root / "data").symlink_to(outside)
    commit(small.root)
    spec, inputs = recorded(small)
    (small.root / "helper.py").write_text(HELPER + "# changed\n")
    (outside / "bars.csv").write_text(NEW)
    with workspace(spec, inputs, small) as space:
        assert_restored(space, inputs)
        assert str(small.results) in space.spec["data"]["source"]
    assert (outside / "bars.csv").read_text() == NEW
    assert not (outside / "bars.csv").is_symlink()


def test_an_overlay_looks_like_the_project(small: Settings) -> None:
    """Only data changed: everything else of the project is there by links, the data is the recorded one."""
    (small.root / "data" / "other.csv").write_text(OLD)
    spec, inputs = recorded(small)
    (small.root / "data" / "bars.csv").write_text(NEW)
    with workspace(spec, inputs, small) as space:
        assert_restored(space, inputs)
        assert (space.root / "data" / "other.csv").read_text() == OLD
        assert (space.root / "helper.py").read_text() == HELPER
        assert not (space.root / ".git").exists()
    assert (small.root / "data" / "bars.csv").read_text() == NEW
    assert (small.root / "helper.py").read_text() == HELPER


def test_what_is_gone_is_replaced_and_said(small: Settings) -> None:
    """Not found anywhere: what is there is used, and each such input is named as not the recorded one."""
    shutil.rmtree(small.root / ".git")
    spec, inputs = recorded(small)
    forget_kept(small)
    change_all(small)
    with workspace(spec, inputs, small) as space:
        assert space.root == small.root
        assert [item.exact for item in space.restored] == [False, False, False]
        texts = [str(item) for item in space.restored]
    assert "no commit was recorded; changed: helper" in texts[0]
    assert "data: NOT as recorded, data/bars.csv as it is now: the recorded one, sha256:" in texts[1]
    assert texts[2].startswith("notebook: NOT as recorded")
    (small.root / "data" / "bars.csv").unlink()
    with (
        pytest.raises(UsageError, match=r"The data of the run, data/bars\.csv with SHA-256"),
        workspace(spec, inputs, small),
    ):
        pass


def test_a_run_that_recorded_no_modules(small: Settings) -> None:
    """Its kernel died: the code is as recorded only where the whole work tree is, and nothing else is claimed."""
    spec, inputs = recorded(small)
    inputs = replace(inputs, modules={})
    with workspace(spec, inputs, small) as space:
        assert space.restored[0].exact
    (small.root / "helper.py").write_text(HELPER + "# changed\n")
    for unknown in (inputs, replace(inputs, git=None)):
        with workspace(spec, unknown, small) as space:
            assert "code: NOT as recorded" in str(space.restored[0])
            assert "before it recorded which modules" in str(space.restored[0])


def test_a_commit_that_is_not_there(small: Settings) -> None:
    """A run brought from another clone whose commit was never pushed: said by its name."""
    spec, inputs = recorded(small)
    shutil.rmtree(small.root / ".git")
    git(small.root, "init", "-q", "-b", "main")
    (small.root / "helper.py").write_text(HELPER + "# changed\n")
    commit(small.root)
    with workspace(spec, inputs, small) as space:
        assert inputs.git is not None
        assert f"the commit {inputs.git['commit'][:12]} is not in the repository" in str(space.restored[0])


def test_a_commit_that_is_an_option(small: Settings) -> None:
    """A manifest made by a stranger cannot hand options to git."""
    spec, inputs = recorded(small)
    forget_kept(small)
    change_all(small)
    target = small.root.parent / "written"
    inputs = replace(inputs, git={"commit": f"--output={target}", "dirty_sha256": None})
    with workspace(spec, inputs, small) as space:
        assert not any(item.exact for item in space.restored)
    assert list(small.root.parent.glob("written*")) == []


def test_the_spec_is_not_changed_in_place(small: Settings) -> None:
    """An absolute data path that moved is replaced in the workspace's spec only."""
    source = small.root.parent / "market.csv"
    source.write_text(OLD)
    spec, inputs = recorded(small, data={"source": str(source)})
    source.unlink()
    with workspace(spec, inputs, small) as space:
        assert sha256_file(Path(space.spec["data"]["source"])) == inputs.data
    assert spec["data"]["source"] == str(source)
    assert small_spec().data.source == "data/bars.csv"


def test_a_module_that_nobody_finds_is_not_said_to_be_changed(small: Settings) -> None:
    """The notebook may have put its directory on the import path by itself."""
    run = sealed_run(small, modules={"of_a_folder": "0" * 64})
    with workspace(run.config, read_inputs(run.manifest or {}), small) as space:
        (text,) = [str(item) for item in space.restored if item.name == "code"]
    assert "of_a_folder (not found on the import path)" in text
