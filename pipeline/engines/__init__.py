"""Adapters: turn what an engine returned into a result, by what the object is, without importing its library."""
