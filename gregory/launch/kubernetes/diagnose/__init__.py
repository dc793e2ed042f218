"""Pure: objects of a cluster to a diagnosis of a run."""
