"""Runs as processes of this machine, one after the other."""
