"""The command `evidence`: parse, call one function, print. The only package that prints."""

from pipeline.cli.edge import main

__all__ = ["main"]
