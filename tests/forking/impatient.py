"""A server that imports this module ends at once if it has neither a request nor a run."""

from gregory.forking import server

server.IDLE_SECONDS = 0.1
