"""Derive the observation of a run from objects of the cluster. Pure."""
