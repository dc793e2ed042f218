"""Measurements against named baselines. Each module prints a Markdown table and is not a test."""
