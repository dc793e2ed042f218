"""The cost of busy processors for each library that has threads: `python -m benchmarks.busy_neighbours`."""
