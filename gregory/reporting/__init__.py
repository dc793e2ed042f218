"""Plans, outcomes and runs as tables, text and JSON for people."""
