"""The training library: texts and labels in, sealed model folders out. No Django, no Kubernetes, no database."""
