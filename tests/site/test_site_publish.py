"""Publishing: to a directory in one step, to a git branch without touching the work tree."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from threading import Thread

import pytest

from pipeline.errors import EvidenceError, StorageError, UsageError
from pipeline.files import list_files
from pipeline.settings import Settings
from pipeline.site import publish as publishing
from pipeline.site.build import build_site
from pipeline.site.layout import STATE, UNPUBLISHED
from pipeline.site.publish import publish_branch, publish_directory
from pipeline.site.serve import site_server
from tests.site.conftest import new_project
from tests.site.site_runs import make_run, make_runs, varied


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    """Return a project with a built site of three runs."""
    settings = new_project(tmp_path / "project")
    make_runs(settings.results, [varied(number, bars=10) for number in range(3)])
    build_site(settings, settings.root / "_site")
    return settings


def content(directory: Path) -> dict[str, bytes]:
    """Return all files but the cache."""
    return {
        name: (directory / name).read_bytes() for name in list_files(directory.resolve()) if name not in UNPUBLISHED
    }


def test_a_directory_gets_the_whole_site(project: Settings, tmp_path: Path) -> None:
    """The published directory equals the site, without its cache; the next time only what changed is copied."""
    site, target = project.root / "_site", tmp_path / "www"
    first = publish_directory(site, target)
    assert content(target) == content(site)
    assert not (target / STATE).exists()
    assert first.copied == first.files
    assert not publish_directory(site, target).changed
    make_run(project.results, varied(9, bars=10))
    build_site(project, site)
    second = publish_directory(site, target)
    assert content(target) == content(site)
    assert 0 < second.copied < 15


def test_what_is_published_does_not_change_with_the_site(project: Settings, tmp_path: Path) -> None:
    """The published copy is one of its own, and the release before stays until the next."""
    site, target = project.root / "_site", tmp_path / "www"
    publish_directory(site, target)
    before, release = content(target), target.resolve()
    make_run(project.results, varied(9, bars=10))
    build_site(project, site)
    assert content(target) == before
    publish_directory(site, target)
    assert content(release) == before
    (site / "about.html").write_text("changed")
    publish_directory(site, target)
    assert not release.exists()


def test_a_failed_publication_leaves_what_was_there(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a copy fails half way, the published site is the one of before, and nothing is left over."""
    site, target = project.root / "_site", tmp_path / "www"
    publish_directory(site, target)
    before = content(target)
    (site / "about.html").write_text("new")
    calls = []

    def failing(*given: object) -> None:
        calls.append(given)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing.shutil, "copy2", failing)
    with pytest.raises(StorageError, match=r"No space left on device\. What was there is untouched"):
        publish_directory(site, target)
    assert content(target) == before
    assert len(list(target.with_name("www.releases").iterdir())) == 1


def test_a_directory_of_somebody_else_is_refused(project: Settings, tmp_path: Path) -> None:
    """A directory with content is not replaced; an empty one is."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "x").write_text("x")
    with pytest.raises(UsageError, match="has content of its own"):
        publish_directory(project.root / "_site", tmp_path / "www")
    (tmp_path / "www" / "x").unlink()
    publish_directory(project.root / "_site", tmp_path / "www")
    assert (tmp_path / "www" / "index.html").is_file()


def test_publishing_needs_a_site(tmp_path: Path) -> None:
    """A directory that holds no site is not published, and the error says how to make one."""
    with pytest.raises(UsageError, match="evidence site build"):
        publish_directory(tmp_path, tmp_path / "www")


def git(repository: Path, *command: str) -> str:
    """Run git in a repository with a name and mail of its own."""
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *command], cwd=repository, env={**os.environ, **names}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_branch_gets_the_site_and_the_work_tree_stays(project: Settings) -> None:
    """The branch holds the site, without its cache; branch, index and files of the work tree are as before."""
    root = project.root
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "config", "user.name", "x")
    git(root, "config", "user.email", "x@example.org")
    (root / "code.py").write_text("1\n")
    git(root, "add", "code.py")
    git(root, "commit", "--quiet", "-m", "code")
    before = git(root, "status", "--porcelain"), git(root, "rev-parse", "HEAD")
    publish_branch(root / "_site", root, "gh-pages", full=True)
    listed = set(git(root, "ls-tree", "-r", "--name-only", "gh-pages").splitlines())
    assert listed == set(content(root / "_site"))
    assert git(root, "show", "gh-pages:about.html") == (root / "_site" / "about.html").read_text()
    assert (git(root, "status", "--porcelain"), git(root, "rev-parse", "HEAD")) == before
    assert git(root, "branch", "--show-current").strip() == "main"
    assert not [path for path in root.iterdir() if path.name.startswith(".publish-")]


@pytest.mark.slow
def test_a_branch_with_content_of_its_own_is_refused(project: Settings) -> None:
    """Neither the branch that is checked out nor one with other files is replaced by the site; its own is."""
    root = project.root
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "config", "user.name", "A")
    git(root, "config", "user.email", "a@b.c")
    (root / "mine.py").write_text("x = 1\n")
    git(root, "add", "mine.py")
    git(root, "commit", "--quiet", "--message", "first")
    git(root, "branch", "other")
    before = git(root, "rev-parse", "main", "other")
    with pytest.raises(UsageError, match="main is checked out"):
        publish_branch(root / "_site", root, "main", full=True)
    with pytest.raises(UsageError, match="refs/heads/other has content of its own"):
        publish_branch(root / "_site", root, "other", full=True)
    assert git(root, "rev-parse", "main", "other") == before
    assert publish_branch(root / "_site", root, full=True).changed


@pytest.mark.slow
def test_a_branch_is_published_to_again(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a public site without being told; nothing is committed twice; a host's CNAME stays; a push is told."""
    root, site = project.root, project.root / "_site"
    git(root, "init", "--quiet", "--initial-branch", "main")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("EMAIL", "")
    git(root, "config", "user.useConfigOnly", "true")
    with pytest.raises(UsageError, match="Build it with --public, or give --full"):
        publish_branch(site, root)
    with pytest.raises(UsageError, match="git does not know who commits"):
        publish_branch(site, root, full=True)
    git(root, "config", "user.name", "A")
    git(root, "config", "user.email", "a@b.c")
    with pytest.raises(UsageError, match=r"'a\.\.b' is no name of a branch"):
        publish_branch(site, root, "a..b", full=True)
    assert publish_branch(site, root, full=True).changed
    first = git(root, "rev-parse", "gh-pages")
    again = publish_branch(site, root, full=True)
    assert (again.changed, again.copied, git(root, "rev-parse", "gh-pages")) == (False, 0, first)
    git(root, "worktree", "add", "--quiet", "../pages", "gh-pages")
    (root.parent / "pages" / "CNAME").write_text("runs.example\n")
    git(root.parent / "pages", "add", "CNAME")
    git(root.parent / "pages", "commit", "--quiet", "-m", "address")
    git(root, "worktree", "remove", "../pages")
    assert not publish_branch(site, root, full=True).changed
    (site / "about.html").write_text("<!doctype html>")
    assert publish_branch(site, root, full=True).changed
    assert git(root, "show", "gh-pages:CNAME") == "runs.example\n"
    with pytest.raises(EvidenceError, match="gh-pages was committed, and not pushed to origin"):
        publish_branch(site, root, full=True, push=True)


def test_a_branch_needs_a_repository(project: Settings) -> None:
    """Outside of a repository the error says so."""
    with pytest.raises(UsageError, match="not committed to gh-pages"):
        publish_branch(project.root / "_site", project.root, full=True)


def test_the_server_serves_the_site_and_no_more(project: Settings) -> None:
    """Files below the prefix are served on this machine; folders are not listed, nothing outside is reached."""
    (project.root / "secret").write_text("x")
    (project.root / "_site" / "out").symlink_to(project.root / "secret")
    server = site_server(project.root / "_site", prefix="/deep/er")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_address[1]}"
        with urllib.request.urlopen(f"{base}/deep/er/index.html", timeout=20) as answer:
            assert answer.read() == (project.root / "_site" / "index.html").read_bytes()
        outside = ("/index.html", "/deep/er/data/", "/deep/er/../../secret", "/deep/er/%2e%2e/secret", "/deep/er/out")
        for path in (*outside, f"/deep/er/{STATE}", "/deep/er/a%00b", "/deep/er/.site-lock", "/deep/er/runs/./.x"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(base + path, timeout=20)
            assert refused.value.code == 404
            refused.value.close()
        for host in ("evil.example", "["):
            named = urllib.request.Request(f"{base}/deep/er/index.html", headers={"Host": host})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(named, timeout=20)
            assert refused.value.code == 421
            refused.value.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
