"""The website over all runs: static files that work on any host, under any path prefix, and without a host."""
