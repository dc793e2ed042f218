"""Chaos: runs on a real cluster, with faults and disturbances that a seed draws.

`python -m tools.chaos --seed 7 --runs 100`. The modules:

- `script` draws the faults and disturbances. It is pure.
- `scripted_work` replaces the stages in the image. `placeholder_bundle` replaces the base models.
- `chaos_env` is the installation.
- `queues` are those of Kueue, if Kueue takes part.
- `faults` and `disturbances` apply the drawn events.
- `evidence` collects the state at the end from tables, volume and cluster, without code of the product.
- `check` finds the violations. It is pure.
- `table` prints the result.
"""
