"""Tests of the result contract: what is recomputed, reconciled and said of a result."""
