"""The operator pages: a web site of lists, runs, subjects and labels."""
