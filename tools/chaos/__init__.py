"""Chaos: real runs on a real cluster, ended and disturbed in every way that a seed draws, and judged by what nobody could have told wrong.

`python -m tools.chaos --seed 7 --runs 100`. `script` draws, pure; `image` makes what pods run, with `scripted_work` in the place of the
trainings; `playground` is the installation; `faults` and `disturbances` do what was drawn; `evidence` collects what is known at the
end without asking the product; `judge`, pure, says what is wrong; `table` shows it.
"""
