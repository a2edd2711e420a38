"""Executing notebooks: the only package that says papermill."""
