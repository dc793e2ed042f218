"""The training library: it makes complete model folders from texts and labels. No Django, no Kubernetes, no database."""
