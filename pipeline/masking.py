"""What of a URL nobody else may read: passwords, tokens in its query, a token for a user name."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

MASK = "***"
WEB = ("http", "https", "git+https", "ssh+https")
SECRET_WORDS = frozenset(
    {"password", "passwd", "pwd", "passphrase", "secret", "token", "key", "apikey", "sig", "signature", "credential"}
    | {"credentials", "auth", "authorization", "pat", "sas", "jwt"}
)
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")


def secret_name(name: str) -> bool:
    """Return whether a query's name is that of a secret: one of its parts is (`access_token`, `apiKey`)."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return any(part.lower() in SECRET_WORDS for part in parts)


def has_secret(url: str) -> bool:
    """Return whether a URL carries a secret; a masked one does not."""
    return masked(url) != url


def masked(url: str) -> str:
    """Return a URL with its secrets replaced by `***`, fit for a message; any other text as it is."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True) if parts.scheme else []
    except ValueError:
        return url
    hidden = [value for name, value in query if value and value != MASK and secret_name(name)]
    text = parts.query
    if hidden:
        text = "&".join(_pair(pair) for pair in parts.query.split("&"))
    user = _user(parts)
    if user is None and not hidden:
        return url
    place = parts.netloc if user is None else f"{user}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=place, query=text))


def _user(parts: SplitResult) -> str | None:
    """Return the masked user part; None when there is nothing to mask."""
    if parts.password is not None:
        return f"{parts.username or ''}:{MASK}" if parts.password != MASK else None
    token = parts.username if parts.scheme in WEB else None  # a web address with a user alone has a token for one
    return MASK if token and token != MASK else None


def _pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    return f"{name}={MASK}" if equals and value and secret_name(name) else pair


def masked_text(text: str) -> str:
    """Return a text with every URL in it masked."""
    return URL.sub(lambda found: masked(found[0]), text)
