"""The website over all runs: static files that work on any host, under any path prefix, and without a host.

    build_site          make or update the site of a project
    publish_directory   copy a built site to a directory, whole or not at all
    publish_branch      commit a built site to a git branch
    ExtraPage, PageProvider   how another module adds pages

Importing this package imports none of its modules; the first use of a name does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.site.build import SiteBuild, build_site
    from pipeline.site.options import SiteOptions, load_options
    from pipeline.site.pages import ExtraPage, PageProvider
    from pipeline.site.publish import publish_branch, publish_directory

__all__ = [
    "ExtraPage", "PageProvider", "SiteBuild", "SiteOptions", "build_site", "load_options", "publish_branch",
    "publish_directory",
]  # fmt: skip

_HOMES = {
    "SiteBuild": "build",
    "build_site": "build",
    "SiteOptions": "options",
    "load_options": "options",
    "ExtraPage": "pages",
    "PageProvider": "pages",
    "publish_branch": "publish",
    "publish_directory": "publish",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
