"""Check an installation before a training. Each finding has a remedy. Nothing is changed."""
