"""Measurements against named baselines; each module prints a Markdown table and is no test."""
