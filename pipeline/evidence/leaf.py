"""What an entry of the ledger's format 2 commits to: three parts, each with a hash of its own, so that each can be
shown without the others.

    public   number, kind, time, run_id, the digest of the entry before, and what counting trials needs
    scope    what was tried: strategy, data, family, instruments, first and last bar
    private  the rest, and the signatures

    digest = H("entry" ‖ H("public" ‖ public) ‖ H("scope" ‖ scope) ‖ H("private" ‖ private))

H is SHA-256; each name stands behind `DOMAIN` and ends with a zero byte, so that no part, entry or node of the tree
can be taken for another; the parts are canonical JSON. Scope and private part hold 128 random bits each, so that
nobody finds out by trying what they say. An entry of format 1 has one digest, over its whole line, which begins with a
brace: no input of this H does. In a ledger no entry of format 1 follows one of format 2.
"""

from __future__ import annotations

import secrets
from typing import Any

from pipeline.digest import sha256_bytes
from pipeline.evidence.strict_json import canonical, parse_canonical

VERSION = 2
DOMAIN = b"evidence-chain/ledger/2/"
COUNTING = ("origin", "batch", "trials")  # details that are public
SCOPE = "trial"  # the detail that goes into the scope, beside strategy and data
PUBLIC = frozenset({"version", "seq", "kind", "time", "run_id", "previous", "details"})
TRIED = frozenset({"salt", "strategy", "data_sha256", SCOPE})
PRIVATE = frozenset({"salt", "subject_sha256", "details", "signer"})
SALT_BYTES = 16


def new_salts() -> tuple[str, str]:
    """Return the salts of an entry's scope and of its private part."""
    return secrets.token_hex(SALT_BYTES), secrets.token_hex(SALT_BYTES)


def split(entry: dict[str, Any], salts: tuple[str, str]) -> dict[str, Any]:
    """Return the parts of an entry that is given as in format 1, with everything beside each other."""
    details = entry["details"]
    rest = {name: value for name, value in details.items() if name not in (*COUNTING, SCOPE)}
    return {
        "public": {
            **{name: entry[name] for name in PUBLIC - {"details"}},
            "details": {name: details[name] for name in COUNTING if name in details},
        },
        "scope": {
            "salt": salts[0],
            "strategy": entry["strategy"],
            "data_sha256": entry["data_sha256"],
            SCOPE: details.get(SCOPE),
        },
        "private": {
            "salt": salts[1],
            "subject_sha256": entry["subject_sha256"],
            "details": rest,
            "signer": entry["signer"],
        },
    }


def joined(parts: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as in format 1 from its parts; raises ValueError for parts that `split` does not make."""
    public, scope, private = parts["public"], parts["scope"], parts["private"]
    known = public.keys() == PUBLIC and scope.keys() == TRIED and private.keys() == PRIVATE
    hidden = set(private["details"]) & {*COUNTING, SCOPE} or set(public["details"]) - {*COUNTING}
    salts = scope["salt"], private["salt"]
    if not known or parts.keys() != {"public", "scope", "private"} or hidden or not all(map(_is_salt, salts)):
        raise ValueError("its parts hold what does not belong there")
    told = {} if scope[SCOPE] is None else {SCOPE: scope[SCOPE]}
    details = {**private["details"], **public["details"], **told}
    own = {name: private[name] for name in ("subject_sha256", "signer")}
    tried = {name: scope[name] for name in ("strategy", "data_sha256")}
    return {**public, **own, **tried, "details": details}


def _is_salt(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 2 * SALT_BYTES


def digest_of_parts(parts: dict[str, Any], signatures: list[Any]) -> str:
    """Return the digest of an entry of format 2."""
    private = {"private": parts["private"], "signatures": signatures}
    return digest_of_hashes(hash_of("public", parts["public"]), hash_of("scope", parts["scope"]), _private(private))


def digest_of_hashes(public: str, scope: str, private: str) -> str:
    """Return the digest of an entry from the hashes of its parts, as hexadecimal digits."""
    return _hash("entry", b"".join(map(bytes.fromhex, (public, scope, private))))


def hash_of(name: str, part: dict[str, Any]) -> str:
    """Return the hash of a part."""
    return _hash(name, canonical(part))


def leaf_of(line: bytes, *, scope: bool) -> bytes:
    """Return what is shown of a ledger's line: its public part, with `scope` that part as well, hashes of the rest.

    Of a line of format 1 its digest is shown.
    """
    value = parse_canonical(line)
    parts = value["entry"]
    if "public" not in parts:
        return canonical({"digest": value["digest"]})
    private = _private({"private": parts["private"], "signatures": value["signatures"]})
    shown = parts["scope"] if scope else hash_of("scope", parts["scope"])
    return canonical({"public": parts["public"], "scope": shown, "private": private})


def _private(part: dict[str, Any]) -> str:
    return _hash("private", canonical(part))


def _hash(name: str, data: bytes) -> str:
    return sha256_bytes(DOMAIN + name.encode() + b"\0" + data)
