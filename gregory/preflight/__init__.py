"""Check an installation before a training. Each finding has a remedy. Trials in the models folder leave nothing."""
