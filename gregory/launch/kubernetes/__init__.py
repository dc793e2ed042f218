"""How a run becomes a Job of a Kubernetes cluster, and what the cluster tells of it."""
