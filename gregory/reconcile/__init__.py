"""Observations of runners + the run store -> actions.

`loop` has the Reconciler. `decide` is the rule, without any input or output. `submit` submits a queued run, `terminate` terminates
living runs, `finalize` closes a terminated run or opens its next attempt.
"""
