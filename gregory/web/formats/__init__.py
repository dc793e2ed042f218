"""Formats of Django for the operator pages, by language."""
