"""What makes a run directory evidence: provenance, the manifest that seals it, verification."""
