"""The run's door: what executes one RunSpec, the same in a process, a container and a Kubernetes Job."""
