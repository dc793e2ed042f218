"""Runs as containers of a Docker engine."""
