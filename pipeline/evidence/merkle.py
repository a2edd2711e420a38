"""A Merkle tree over the ledger's entries: proves that one is among them without showing the others.

The hashing of RFC 6962, section 2.1 (Certificate Transparency): leaf = SHA-256(0x00 ‖ data), node = SHA-256(0x01 ‖
left ‖ right), the left subtree the largest power of two smaller than the whole. A leaf's data is an entry's digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def root_and_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, list[bytes]]:
    """Return the root of the tree over `leaves`, and the audit path of the one at `index`, from the leaf upwards."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"there is no leaf {index} among {len(leaves)}")
    level = [_hash(b"\0", leaf) for leaf in leaves]
    path = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level, index = _next(level), index // 2
    return level[0], path


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree over `leaves`, of which there is one at least."""
    return root_and_path(leaves, 0)[0]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root a path proves for a leaf (RFC 9162, 2.1.3.2); raises ValueError when it does not fit."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} among {size}")
    node, last, rest = _hash(b"\0", leaf), size - 1, list(path)
    while last > 0:
        if index % 2 or index < last:
            if not rest:
                raise ValueError("the path is too short")
            sibling = rest.pop(0)
            node = _hash(b"\1", sibling, node) if index % 2 else _hash(b"\1", node, sibling)
        index, last = index // 2, last // 2
    if rest:
        raise ValueError("the path is too long")
    return node


def _next(level: list[bytes]) -> list[bytes]:
    """Pair up a level; one left over moves up as it is, which gives the tree of the RFC's recursion."""
    paired = [_hash(b"\1", level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return paired + level[len(level) - len(level) % 2 :]


def _hash(prefix: bytes, *parts: bytes) -> bytes:
    return hashlib.sha256(prefix + b"".join(parts)).digest()
