"""The program of a run: it executes one RunSpec, in a process, a container or a Kubernetes Job alike."""
