"""The command `evidence`: parse, call one function, print. The only package that prints."""

from pipeline.cli.app import app, main

__all__ = ["app", "main"]
