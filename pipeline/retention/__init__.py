"""Remove old runs without breaking the chain: choose, say why others stay, remove, archive, restore, pin."""
