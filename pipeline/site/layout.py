"""The names of the files of a website, and links between them.

index.html  compare.html  <prose>.html    frame and scripts
assets/*                                  style, scripts, plotly.js
data/head.js                              which shards there are
data/runs-<digest>.js                     rows of the listing, some hundred each
plain/<run_id>.html                       the same rows as a page that needs no script
experiments/index.html, experiments/<name>/index.html
runs/<run_id>/index.html                  the report, or what is known of a run without one
runs/<run_id>/data.js                     curve, metrics and params for the comparison
runs/<run_id>/files/*                     the sealed files
.site-state.json                          what the last build saw; only a cache
.site-lock                                locked while a build writes; shows that a site was begun here
"""

from __future__ import annotations

import re
from urllib.parse import quote

from pipeline.digest import sha256_bytes

INDEX = "index.html"
COMPARE = "compare.html"
ASSETS = "assets"
DATA = "data"
HEAD = "data/head.js"
RUNS = "runs"
FILES = "files"
PLAIN = "plain"
EXPERIMENTS = "experiments"
STATE = ".site-state.json"
LOCK = ".site-lock"
UNPUBLISHED = (STATE, LOCK)
MANAGED = (ASSETS, DATA, RUNS, PLAIN, EXPERIMENTS)


def run_folder(run_id: str) -> str:
    """Return the folder of a run."""
    return f"{RUNS}/{run_id}"


def run_page(run_id: str) -> str:
    """Return the page of a run."""
    return f"{RUNS}/{run_id}/{INDEX}"


def run_data(run_id: str) -> str:
    """Return what the comparison loads of a run."""
    return f"{RUNS}/{run_id}/data.js"


def plain_page(run_id: str) -> str:
    """Return the plain page whose oldest run has this id."""
    return f"{PLAIN}/{run_id}.html"


def group_index(group: str) -> str:
    """Return the page that lists a group of extra pages, as `experiments/index.html`."""
    return f"{group}/{INDEX}"


def experiment_page(name: str) -> str:
    """Return the page of an experiment."""
    return f"{EXPERIMENTS}/{slug(name)}/{INDEX}"


def slug(name: str) -> str:
    """Return a file name for any text; different texts have different names, on every file system."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48]
    if plain == name:
        return plain
    return f"{plain or 'x'}-{sha256_bytes(name.encode(errors='surrogatepass'))[:8]}"


def root_of(path: str) -> str:
    """Return the way from a page to the root of the site: empty, `../`, `../../`."""
    return "../" * path.count("/")


def link_to(path: str) -> str:
    """Return a path quoted for a link."""
    return quote(path, safe="/-._~")
