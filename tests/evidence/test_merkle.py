"""The Merkle tree is that of RFC 6962: checked against the test vectors of Certificate Transparency."""

from __future__ import annotations

import hashlib

import pytest

from pipeline.evidence.merkle import root_and_path, root_from_path

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
# Roots of the trees over the first 1 to 8 of these leaves, from the reference tests of Certificate Transparency.
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    """One tree, one root, the one others compute."""
    assert root_and_path(LEAVES[:size], 0)[0].hex() == ROOTS[size - 1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64, 100])
def test_a_path_proves_its_leaf_and_no_other(size: int) -> None:
    """Every leaf has a path to the root; another leaf, another place, a longer or shorter path prove nothing."""
    leaves = [hashlib.sha256(bytes([i])).digest() for i in range(size)]
    for index in range(size):
        root, path = root_and_path(leaves, index)
        assert root_from_path(leaves[index], index, size, path) == root
        assert root_from_path(b"x" * 32, index, size, path) != root
        with pytest.raises(ValueError, match="too long"):
            root_from_path(leaves[index], index, size, [*path, b"x" * 32])
        if path:
            with pytest.raises(ValueError, match="too short"):
                root_from_path(leaves[index], index, size, path[:-1])
    with pytest.raises(ValueError, match="no leaf"):
        root_from_path(leaves[0], size, size, [])
