"""The database backend: which errors mean "not now", and how long a process waits for an answer."""
