"""Observations of runners + the run store -> actions.

`loop` has the Reconciler, and `one_pass` the order of its actions. `decide` is the rule, without any input or output. `submit` submits
a queued run, and `submissions` does so at its own pace. `terminate` terminates living runs. `finalize` closes a terminated run or opens
its next attempt.
"""
