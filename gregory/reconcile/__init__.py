"""Rows that always end: what runners see + what the ledger says -> verdicts, applied.

`verdict` is the rule, without any I/O; `passes` looks at every unfinished run and applies it; `burial` ends a dead run, or opens
its next attempt; `handover` submits; `cancelling` ends a living one.
"""
