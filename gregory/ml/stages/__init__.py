"""The steps of a run that need no database, each a process.

`contract` says what goes in and what comes out, `work` does it, `__main__` is the process around it.
"""
