"""The stages of a run: steps without a database, each in a process of its own.

`contract` defines input and output, `work` has the functions, and `__main__` is the process.
"""
