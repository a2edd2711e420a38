"""What a public site must not show is not in it, in any byte."""

from __future__ import annotations

import base64
import getpass
import json
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RenderError, UsageError
from pipeline.evidence.manifest import Input
from pipeline.files import list_files
from pipeline.settings import Settings
from pipeline.site.build import build_site
from pipeline.site.options import SiteOptions, load_options
from pipeline.site.redaction import MARK, Redactor, make_redactor
from tests.site.conftest import new_project, render
from tests.site.site_runs import make_run, varied

SECRETS = (
    "/home/jdoe/secret-desk/prices.csv", "jdoe", "secret-desk", "j.doe@fund.example", "fund.example",
    "tracker.internal", "10.1.2.3", "C:\\Users\\jdoe", "ACME Capital", "ACC-12345", "tape-of-client", "secretpkg",
    "6.1-internal-kernel", "build-host-7", "/opt/private/feed", "hunter2", "client=", "Umbrella",
    "Hooli", "feeds.initech.example", "Globex",
)  # fmt: skip
WARNING = "read /opt/private/feed/a.csv as j.doe@fund.example from http://tracker.internal:5000/x on 10.1.2.3"
FAILURE = {
    "kind": "cell", "message": "cell 5 raised OSError: /home/jdoe/secret-desk/prices.csv", "cell": 5,
    "ename": "OSError", "evalue": "C:\\Users\\jdoe\\prices.csv",
    "traceback": 'File "/home/jdoe/x.py", line 3\n  password = "hunter2"',
}  # fmt: skip
SITE_TOML = """
title = "Open runs"
[public]
hide = ["ACME Capital", "build-host-7", "jdoe"]
patterns = ["ACC-[0-9]+"]
hide_tags = ["client"]
"""


def everywhere() -> dict[str, Any]:
    """Return a secret wherever a run can hold one."""
    return {
        "name": "For ACME Capital, ACC-12345", "symbol": "ACC-12345", "experiment": "acme capital momentum",
        "tags": {"client": "tape-of-client", "mail": "j.doe@fund.example", "where": "/opt/private/feed"},
        "data": ("/home/jdoe/secret-desk/prices of Umbrella/bars.csv", "cd" * 32), "warnings": (WARNING,),
        "benchmark": ("/opt/private/feed/Hooli index.csv", "ef" * 32),
        "packages": {"secretpkg": "1.2"}, "platform": "Linux-6.1-internal-kernel",
        "read": (
            Input("network:feeds.initech.example", "network:feeds.initech.example", {}, {"found": "observed"}),
            Input("input:0", "/opt/private/feed/Globex 7.csv", {"sha256": "ab" * 32}, {"found": "observed"}),
        ),
        "overrides": {"data.source": "/home/jdoe/secret-desk/prices.csv"},
        "files": {
            "notebook.ipynb": b'{"cells": [], "metadata": {"host": "build-host-7"}}',
            "tracking.json": b'{"tracking_uri": "http://tracker.internal:5000", "mlflow_run_id": "abc"}',
            "debug/kernel.log": b"hunter2",
            "reports/backtest_report.txt": b"made on build-host-7",
            "plots/jdoe.png": b"\x89PNG\r\n\x1a\n",
            "robustness.json": json.dumps({"notes": {"leakage": "not found: /opt/private/feed"}}).encode(),
        },
    }  # fmt: skip


def planted(settings: Settings) -> None:
    """Make runs full of secrets, some of them with a report."""
    render(make_run(settings.results, varied(1, **everywhere())))
    render(make_run(settings.results, varied(2, **everywhere() | {"status": "FAILED", "error": FAILURE})))
    make_run(settings.results, varied(3, **everywhere()))
    make_run(settings.results, varied(4, **everywhere() | {"seal": False}))
    (settings.root / "config").mkdir()
    (settings.root / "config" / "site.toml").write_text(SITE_TOML, encoding="utf-8")


def shown(site: Path) -> dict[str, bytes]:
    """Return every file of a site, its cache included."""
    return {name: (site / name).read_bytes() for name in list_files(site)}


@pytest.mark.slow
def test_no_byte_of_a_public_site_is_a_planted_secret(tmp_path: Path) -> None:
    """Paths, addresses, hosts, users, mail, packages, platform, hidden words and tags: none is in any file."""
    settings = new_project(tmp_path / "project")
    planted(settings)
    site = tmp_path / "_site"
    build_site(settings, site, load_options(settings))  # a full site first: nothing of it may stay
    full = b"".join(shown(site).values())
    assert all(secret.encode() in full or json.dumps(secret)[1:-1].encode() in full for secret in SECRETS)
    build_site(settings, site, load_options(settings, public=True))
    found = [
        (secret, name)
        for name, data in shown(site).items()
        for secret in (*SECRETS, str(tmp_path))
        for form in {secret, secret.lower(), json.dumps(secret)[1:-1]}
        if form.encode() in data or form in name
    ]
    assert found == []


@pytest.mark.slow
def test_a_public_site_still_shows_the_results(tmp_path: Path) -> None:
    """Metrics, curve, seal and digests stay, and so do the sealed files that hold nothing to leave out."""
    settings = new_project(tmp_path / "project")
    planted(settings)
    site = tmp_path / "_site"
    build_site(settings, site, load_options(settings, public=True))
    run = settings.results / varied(1).run_id
    folder = site / "runs" / run.name
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert "SEAL MATCHES" in html
    assert "Left out of the public page." in html
    assert MARK in html
    assert "plot-equity" in html
    assert {path.name for path in (folder / "files").rglob("*") if path.is_file()} == {
        "equity.csv", "stats.json", "trades_summary.json",
    }  # fmt: skip
    assert (folder / "files" / "stats.json").read_bytes() == (run / "stats.json").read_bytes()


def test_a_word_that_would_still_show_stops_the_build(tmp_path: Path) -> None:
    """When a hidden word gets onto a page past the redaction, the build ends with an error that names it."""
    redactor = Redactor(hide=("ACME",))
    with pytest.raises(RenderError, match="The page of x would show 'acme'"):
        redactor.check("<p>for acme</p>", "The page of x")


def test_prose_with_a_hidden_word_is_refused(tmp_path: Path) -> None:
    """A page of one's own that has a hidden word ends the build."""
    settings = new_project(tmp_path / "project")
    folder = settings.root / "reports" / "site"
    folder.mkdir(parents=True)
    (folder / "us.qmd").write_text("---\ntitle: Us\n---\n\nWe are Acme capital.\n")
    options = SiteOptions(public=True, hide=("ACME Capital",))
    with pytest.raises(RenderError, match=r"The page us.html would show 'Acme capital'"):
        build_site(settings, tmp_path / "_site", options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/a/b.csv", MARK),
        ("see ~/data/x.csv now", f"see {MARK} now"),
        (r"C:\data\x.csv", MARK),
        (r"\\server\share\x", MARK),
        ("file:///etc/x", MARK),
        ("sqlite:////srv/mlflow.db", MARK),
        ("postgresql://u:p@db/x", MARK),
        ("mail a.b@c.de!", f"mail {MARK}!"),
        ("192.168.0.1:8080", MARK),
        ("'/tmp/x/y'", f"'{MARK}'"),
        ("::1 and fe80::1%eth0, 2001:db8:0:0:0:0:2:1", f"{MARK} and {MARK}, {MARK}"),
        ("db-01:5432, mlflow.internal:80, localhost:99", f"{MARK}, {MARK}, {MARK}"),
        ("as user@host7 or git@code.acme:desk/alpha.git", f"as {MARK} or {MARK}"),
        ("from ../secret/x.csv, ~jdoe/x.csv, $HOME/x, ${DATA}/y", f"from {MARK}, {MARK}, {MARK}, {MARK}"),
        ("in /srv/My Documents/bars of May.csv now", f"in {MARK} now"),
        (r"in C:\My Documents\b.csv now, as DESK\jdoe", f"in {MARK} now, as {MARK}"),
        ("mlflow-artifacts:/1/a and jdbc:oracle:thin:@x", f"{MARK} and {MARK}"),
        ("AWS_SESSION=abc123 API_TOKEN = x/y", f"{MARK} {MARK}"),
        ("password: hunter2, 'api_key': 'k'", f"{MARK} '{MARK}'"),
        ("at 12:30:45, year:2015, 16:9, a:b, fast=20", "at 12:30:45, year:2015, 16:9, a:b, fast=20"),
        ("and/or, 1/2/3, 2026-01-01T00:00:00Z, sample:sp500", "and/or, 1/2/3, 2026-01-01T00:00:00Z, sample:sp500"),
        ("notebooks/backtest.ipynb", "notebooks/backtest.ipynb"),
        ("mine:signal, S&P 500, 1.2.3, -0.5 %", "mine:signal, S&P 500, 1.2.3, -0.5 %"),
    ],
)
def test_redaction(text: str, expected: str) -> None:
    """Absolute paths, addresses, mail and IP addresses go; relative names, dates and numbers stay."""
    assert Redactor().text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/a/My Documents/b.csv", MARK),
        ("~/My Documents/b.csv", MARK),
        (r"C:\My Documents\b.csv", MARK),
        ("file:///srv/My Documents/b.csv", MARK),
        ("data/my bars.csv", "data/my bars.csv"),
        ("S&P / 500 / test", "S&P / 500 / test"),
    ],
)
def test_a_setting_that_is_a_path_goes_whole(text: str, expected: str) -> None:
    """A path with blanks in it leaves nothing of itself where a value of the run spec is a path."""
    assert Redactor().setting(text) == expected
    assert Redactor().value({"source": text}, settings=True) == {"source": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jdoe_alpha:signal, prices_JDOE.csv", f"{MARK}_alpha:signal, prices_{MARK}.csv"),
        ("jdoesmith, xjdoe, jdoe2", "jdoesmith, xjdoe, jdoe2"),
        ("of Acme_Capital", "of Acme_Capital"),
    ],
)
def test_a_name_is_found_within_a_name_of_code(text: str, expected: str) -> None:
    """In code and names of files words are joined by `_`: a user's name is found among them."""
    assert Redactor(words=("jdoe",), hide=("Acme Capital",)).text(text) == expected


def test_patterns_of_one_s_own_are_each_their_own() -> None:
    """Flags in one are no matter to the others; what overlaps is left out once."""
    redactor = Redactor(patterns=("(?i)acme", "ACC-[0-9]+", "me c"))
    assert redactor.text("for Acme co, ACC-1, acc-2") == f"for {MARK}o, {MARK}, acc-2"


def test_a_pattern_that_searches_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repetition of a repetition ends the build with its name, if it would not end by itself."""
    monkeypatch.setattr("pipeline.site.patterns.SECONDS", 0.1)
    with pytest.raises(RenderError, match=r"The pattern '\(a\|aa\)\+\$'"):
        Redactor(patterns=("(a|aa)+$",)).text("a" * 60 + "b")
    assert Redactor(patterns=("(a+)+$",)).text("a" * 60 + "b") == "a" * 60 + "b"


HEAD = struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 0)
ONE_PIXEL = zlib.compress(b"\0\0")
INTERLACED_HEAD = struct.pack(">2I5B", 5, 3, 1, 3, 0, 0, 1)
INTERLACED_PIXELS = zlib.compress(bytes(14))  # passes of 1+1, 1+1, 0, 2x1, 1x1, 2x1 and 1x1 bytes and a filter a row
PRIVATE_PATH = b"made in /home/jdoe/desk"


def png(*chunks: tuple[bytes, bytes], head: bytes = HEAD, pixels: bytes = ONE_PIXEL) -> bytes:
    parts = [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (png(), True),
        (png((b"tEXt", b"Software\0Matplotlib version3.10")), True),
        (png((b"tEXt", b"Author\0j.doe@fund.example")), False),
        (png((b"zTXt", b"Comment\0\0" + zlib.compress(b"made in /home/jdoe/desk"))), False),
        (png((b"iTXt", b"Where\0\0\0en\0Ort\0/opt/private/feed")), False),
        (png((b"iTXt", b"Where\0\1\0en\0Ort\0" + zlib.compress(b"/opt/private/feed"))), False),
        (png((b"eXIf", b"MM\0*")), False),
        (png() + b"/opt/private/feed", False),
        (png((b"zTXt", b"Comment\0\0" + zlib.compress(b" " * (1 << 20) + PRIVATE_PATH))), False),
        (png((b"zTXt", b"Comment\0\0" + zlib.compress(b"made here") + PRIVATE_PATH)), False),
        (png((b"tEXt", b"Comment\0" + PRIVATE_PATH.decode().encode("utf-16-le"))), False),
        (png((b"tEXt", "By\0Jürgen".encode())), False),
        (png((b"tEXt", "By\0Jürgen".encode("latin-1"))), False),
        (png((b"pHYs", PRIVATE_PATH)), False),
        (png((b"bKGD", PRIVATE_PATH)), False),
        (png((b"IHDR", PRIVATE_PATH)), False),
        (png(head=HEAD + PRIVATE_PATH), False),
        (png(pixels=ONE_PIXEL + PRIVATE_PATH), False),
        (png(pixels=zlib.compress(b"\0\0" + PRIVATE_PATH)), False),
        (png(pixels=PRIVATE_PATH), False),
        (png((b"PLTE", bytes(6)), head=INTERLACED_HEAD, pixels=INTERLACED_PIXELS), True),
        (b"\x89PNG\r\n\x1a\n", False),
    ],
)
def test_what_a_picture_says_beside_itself(picture: bytes, expected: bool) -> None:
    """Authors and paths in a PNG's texts, compressed or not, and what cannot be read as text, keep it off the page."""
    assert Redactor(hide=("Jürgen",), files=("plots/*.png",)).shows("plots/a.png", picture) is expected


PICTURE = base64.b64encode(png((b"tEXt", b"Author\0j.doe@fund.example"))).decode()
PLAIN_PICTURE = base64.b64encode(png((b"tEXt", b"Software\0Matplotlib version 3.10"))).decode()
HIDDEN = base64.b64encode(b"These are the words of ACME Capital, and of nobody else in the world.").decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a": "\\u002fhome\\u002fjdoe\\u002fdesk"}', False),
        (b'{"by": "J\\u00fcrgen"}', False),
        (b'{"who": "DESK\\\\jdoe"}', False),
        (b"see %2Fhome%2Fjdoe%2Fx.csv", False),
        (b"<p>&#x2F;home&#x2F;jdoe&#x2F;x.csv</p>", False),
        (f'{{"image/png": "{PICTURE}"}}'.encode(), False),
        (f'{{"image/png": "{PLAIN_PICTURE}"}}'.encode(), True),
        (f'{{"image/png": "{PLAIN_PICTURE[:-8]}"}}'.encode(), False),
        (f'{{"data": "{HIDDEN}"}}'.encode(), False),
        (f'{{"sha256": "{"ab" * 32}", "share": "5 % of 3 & more"}}'.encode(), True),
        ("/home/jdoe/x.csv".encode("utf-16-le"), False),
        (zlib.compress(b"/home/jdoe/x.csv"), False),
        ("price in €".encode("cp1252"), False),
    ],
)
def test_what_a_file_hides_from_a_search_of_its_bytes(text: bytes, expected: bool) -> None:
    """Escapes, encodings, base64 and pictures within are read; what nobody can read is not shown."""
    redactor = Redactor(hide=("ACME Capital", "Jürgen"), files=("*",))
    assert redactor.shows("notebook.ipynb", text) is expected


def test_this_host_and_user_are_hidden(tmp_path: Path) -> None:
    """The names of this machine and its user are left out, unless they are names everybody has."""
    redactor = make_redactor(SiteOptions(public=True), new_project(tmp_path / "p"))
    names = {socket.gethostname().lower(), getpass.getuser().lower()} - {"root", "runner", "user", "host", "localhost"}
    assert all(redactor.text(f"on {name} now") == f"on {MARK} now" for name in names if len(name) > 1)
    assert redactor.text("the square root") == "the square root"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 'x'", "unknown key 'titel'. Did you mean 'title'"),
        ("[public]\nhides = []", r"\[public\]: unknown key 'hides'"),
        ("[public]\nhide = ['']", "a list of texts is needed"),
        ("[public]\npatterns = ['(']", "is no regular expression"),
        ("title = 3", "title is text"),
        ("public = 3", "public is a table"),
        ("x", "cannot be read"),
    ],
)
def test_options_are_checked(tmp_path: Path, text: str, message: str) -> None:
    """A misspelt or malformed option is refused with file and key, rather than showing what should be hidden."""
    settings = new_project(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "site.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_options(settings)


@pytest.mark.parametrize(
    "pattern", ["(?R)", "(a)(?1)", "(?P<x>a)(?&x)", "(" * 500 + ")" * 500, "(?:" * 2000 + ")" * 2000]
)
def test_a_pattern_that_may_never_end_is_refused(project: Settings, pattern: str) -> None:
    """One that calls itself takes all the memory there is; one nested too deep cannot be compiled."""
    (project.root / "config" / "site.toml").write_text(f"[public]\npatterns = ['{pattern}']\n")
    with pytest.raises(UsageError, match=r"site.toml, \[public\] patterns"):
        load_options(project)
