"""From flags to run specifications: a new run, or the next attempt of a run that failed."""
