"""What nobody else may read: a value under the name of a secret; of a URL its password, its token.

What the name of a secret is, is said here and nowhere else.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

MASK = "***"
SECRET_NUMBER = 100_000  # a smaller one under the name of a secret is a setting (`key = 3`, `pass = 2`)
WEB = ("http", "https", "git+https", "ssh+https")
# A name with one of these words is that of a secret; the word may end a longer one, as in PGPASSWORD.
SECRET_WORDS = (
    *("password", "passwd", "pwd", "passphrase", "secret", "token", "credential", "authorization", "jwt"),
    *("apikey", "accesskey", "secretkey", "privatekey"),
)
# These are secrets at the end of a name (`api_key`, `key`), not before another word (`key_level`) …
LAST_WORDS = frozenset({"key", "sig", "signature", "auth", "pat", "sas", "pass", "passcode"})
# … nor after one of these (`sort_key`, `low_pass`).
ELSE_BEFORE = frozenset(
    {"primary", "foreign", "sort", "group", "join", "partition", "public", "index", "cache", "lookup"}
    | {"low", "high", "band", "all"}
)
# What only describes a secret, or is another thing of its name (`token_symbol`, `password_file`).
DESCRIBING = frozenset(
    {"symbol", "name", "type", "kind", "count", "limit", "url", "uri", "length", "size", "level", "mode"}
    | {"file", "path", "address", "column", "field", "expiry", "ttl"}
)
# Words that are mostly counted (`max_tokens`); they are secrets after one of QUALIFYING (`api_tokens`).
MANY = frozenset({"keys", "tokens"})
QUALIFYING = frozenset({"api", "access", "auth", "bearer", "private", "refresh", "secret", "session"})
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s\"'<>]+")


@functools.lru_cache(10_000)
def secret_name(name: str) -> bool:
    """Return whether a name is that of a secret, by its words: `access_token`, `apiKey`, `DB_PASSWORD`."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    framed = ["", *words, ""]
    return any(_tells(*framed[place : place + 3]) for place in range(len(words)))


def _tells(before: str, word: str, after: str) -> bool:
    """Return whether a word of a name, between these two, makes it the name of a secret."""
    if word in MANY:
        return before in QUALIFYING
    if word.removesuffix("s").endswith(SECRET_WORDS):
        return after not in DESCRIBING
    return word in LAST_WORDS and after in ("", "id") and before not in ELSE_BEFORE


def mask_table(value: Any, place: str = "", *, secret: bool = False) -> tuple[Any, dict[str, str]]:
    """Return JSON or TOML values with their secrets as `***`, and each secret by its place (`db.password`, `keys[0]`).

    Secret is any text that is, or is below, the value of a secret's name, a whole number of six digits or more there,
    and a URL that carries one; other numbers, booleans and empty text are none. What is masked has a place, too.
    """
    found: dict[str, str] = {}
    if isinstance(value, Mapping):
        table = {}
        for key, item in value.items():
            name = f"{place}.{key}" if place else str(key)
            table[key], inner = mask_table(item, name, secret=secret or secret_name(str(key)))
            found |= inner
        return table, found
    if isinstance(value, list | tuple):
        pairs = [mask_table(item, f"{place}[{index}]", secret=secret) for index, item in enumerate(value)]
        return [item for item, _ in pairs], {name: text for _, inner in pairs for name, text in inner.items()}
    if isinstance(value, str) and value and (secret or value == MASK or has_secret(value)):
        return MASK, {place: value}
    if secret and isinstance(value, int) and abs(value) >= SECRET_NUMBER:
        return MASK, {place: str(value)}
    return value, found


def mask_shown(value: Any, *, secret: bool = False) -> Any:
    """Return JSON values as they may be shown: of URLs the secrets, of texts under a secret's name all is `***`.

    Runs that were sealed before secrets were refused or masked hold them for ever; what is shown of them does not.
    """
    if isinstance(value, Mapping):
        return {key: mask_shown(item, secret=secret or secret_name(str(key))) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask_shown(item, secret=secret) for item in value]
    if not isinstance(value, str) or not value:
        return value
    return MASK if secret else masked_text(value)


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
