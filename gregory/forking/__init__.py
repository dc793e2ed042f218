"""Processes that share the imports of their libraries: docs/decisions/0036-start-of-a-stage.md. Only on Linux.

A server imports libraries once and forks a process for each request. `server` has its program, and `client` the other side. The protocol
is one message with file descriptors and one answer, on a socket that keeps the limits of messages.
"""
