"""How a run becomes a container of a Docker engine, and how its log is followed."""
